"""Runs PTX on numpy: what Triton compiles for NVIDIA's GPUs, with their arithmetic, where there is no GPU.

All threads of a grid execute an instruction together, a register being an array with an element per thread; threads that
branch differently wait for those behind (the lowest instruction goes first), which is where compilers make them meet.
Floats round as the hardware rounds (nearest even, subnormals kept); an invalid operation gives the NaN 0x7fffffff; float
to int saturates. Every access to memory must lie in one of the arrays that the kernel was given, aligned to its size; what
is not known here (fused, approximate, other instructions) is an error. Source: NVIDIA's PTX ISA.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ptx_operations import WIDTHS, Fault, U, operation, redux

WARP = 32
Argument = int | float | np.ndarray | None


@dataclass(frozen=True)
class Instruction:
    """`guard`: register and wanted value, or None. `operands`: texts, a vector as a list of texts."""

    name: str
    guard: tuple[str, bool] | None
    operands: tuple[str | list[str], ...]
    text: str


class Kernel:
    """A compiled kernel: instructions, labels (number of the instruction behind), parameters, threads per program."""

    def __init__(self, ptx: str) -> None:
        body = ptx[ptx.index(".entry") :]
        self.parameters = re.findall(r"\.param \.[^,\n]*?(\w+_param_\d+)", body)
        self.threads = int(re.search(r"\.reqntid (\d+)", body)[1])
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}
        for line in body[body.index("{") + 1 :].splitlines():
            text = line.partition("//")[0].strip()
            if match := re.fullmatch(r"(\$\w+):", text):
                self.labels[match[1]] = len(self.code)
            elif text == "}":
                break
            elif text and text[0] not in ".{}":
                self.code.append(_instruction(text))
            elif text.startswith(".section"):
                break
        used = {i.operands[-1] for i in self.code if i.name.startswith("bra")}
        self.starts = {self.labels[label] for label in used}


def _instruction(text: str) -> Instruction:
    match = re.fullmatch(r"(?:@(!?)(%p\d+)\s+)?([\w.:]+)\s*(.*?);", text)
    if match is None:
        raise Fault(f"cannot be read: {text}")
    operands: list[str | list[str]] = []
    for vector, single in re.findall(r"\{([^}]*)\}|((?:\[[^\]]*\]|[^,{}])+)", match[4]):
        if vector:
            operands.append([part.strip() for part in vector.split(",")])
        elif single.strip():
            operands.append(single.strip())
    guard = (match[2], not match[1]) if match[2] else None
    return Instruction(match[3], guard, tuple(operands), text)


@dataclass
class Cost:
    """What launches took: instructions of threads, and 32-byte sectors of memory that a warp loads or stores at a time."""

    instructions: int = 0
    loaded: int = 0
    stored: int = 0


class Run:
    """One launch of a kernel over `programs`; `arguments` are numbers or writeable uint8 arrays, None for no pointer."""

    def __init__(self, kernel: Kernel, programs: int, arguments: Sequence[Argument], shared: int,
                 cost: Cost | None = None) -> None:
        self.kernel = kernel
        self.cost = cost
        self.size = programs * kernel.threads
        self.registers: dict[str, np.ndarray] = {}
        self.active: np.ndarray | None = None  # None: all
        thread = np.arange(self.size, dtype=np.uint32)
        self.lane = thread % np.uint32(WARP)
        self.special = {"%tid.x": thread % np.uint32(kernel.threads), "%ctaid.x": thread // np.uint32(kernel.threads),
                        "%nctaid.x": np.uint32(programs), "%ntid.x": np.uint32(kernel.threads), "global_smem": np.uint32(0)}
        self.shared = np.zeros(programs * shared, np.uint8)
        self.shared_size = shared
        self.shared_base = self.special["%ctaid.x"].astype(np.int64) * shared
        self.values: dict[str, int] = {}
        self.memory: list[tuple[int, np.ndarray]] = []
        for name, value in zip(kernel.parameters, arguments, strict=True):
            if isinstance(value, np.ndarray):
                self.memory.append((value.ctypes.data, value))
                value = value.ctypes.data
            self.values[name] = int(np.float32(value).view(np.uint32)) if isinstance(value, float) else int(value or 0)
        self.memory.sort(key=lambda entry: entry[0])

    def __call__(self) -> None:
        code, end = self.kernel.code, len(self.kernel.code)
        where = np.zeros(self.size, np.int64)
        with np.errstate(all="ignore"):
            while True:
                at = int(where.min())
                if at == end:
                    return
                here = where == at
                self.active = None if here.all() else here
                busy = int(here.reshape(-1, WARP).any(1).sum()) * WARP  # a warp's threads take part, or wait
                while True:
                    instruction = code[at]
                    at += 1
                    if self.cost is not None:
                        self.cost.instructions += busy
                    if instruction.name.startswith(("bra", "ret")):
                        self._branch(instruction, where, here, at, end)
                        break
                    try:
                        self._execute(instruction)
                    except Fault as fault:
                        raise Fault(f"{instruction.text}: {fault}") from None
                    if at in self.kernel.starts or at == end:
                        where[here] = at
                        break

    def _branch(self, instruction: Instruction, where: np.ndarray, here: np.ndarray, after: int, end: int) -> None:
        target = end if instruction.name == "ret" else self.kernel.labels[instruction.operands[-1]]
        taken = here
        if instruction.guard is not None:
            register, wanted = instruction.guard
            taken = here & (self._get(register, 1) == wanted)
        where[here] = after
        where[taken] = target

    # ------------------------------------------------------------------------------------------------- registers

    def _get(self, operand: str, width: int) -> np.ndarray | np.generic:
        """The bits of an operand; booleans of a predicate."""
        if operand in self.special:
            return self.special[operand]
        if operand[0] == "%":
            found = self.registers.get(operand)
            if found is None:
                found = self.registers[operand] = np.zeros(self.size, _dtype(operand))
            return found
        if operand.startswith("0f"):
            return np.uint32(int(operand[2:], 16))
        return U[width](int(operand.rstrip("U"), 0) & (1 << 8 * width) - 1)

    def _set(self, operand: str, value: np.ndarray | np.generic, mask: np.ndarray | None) -> None:
        if operand == "_":
            return
        value = np.broadcast_to(np.asarray(value).astype(_dtype(operand), copy=False), (self.size,))
        if mask is not None:
            value = np.where(mask, value, self._get(operand, 0))
        self.registers[operand] = value

    def _mask(self, instruction: Instruction) -> np.ndarray | None:
        if instruction.guard is None:
            return self.active
        register, wanted = instruction.guard
        held = self._get(register, 1)
        chosen = held if wanted else ~held
        return chosen if self.active is None else chosen & self.active

    def _execute(self, instruction: Instruction) -> None:
        name, operands, mask = instruction.name, instruction.operands, self._mask(instruction)
        kind = name.split(".")[0]
        if kind in ("bar", "membar", "fence"):
            self._barrier(name)
        elif kind in ("ld", "st"):
            self._access(kind, name, operands, mask)
        elif kind in ("ldmatrix", "stmatrix"):
            self._matrix(kind, name, operands, mask)
        elif kind == "mov":
            self._move(name, operands, mask)
        elif kind in ("shfl", "redux"):
            self._exchange(kind, name, operands, mask)
        else:
            function, widths = operation(name, len(operands) - 1)
            if len(widths) != len(operands) - 1:
                raise Fault("is not known here")
            values = [self._get(o, w) for o, w in zip(operands[1:], widths, strict=True)]
            self._set(operands[0], function(*values), mask)

    def _barrier(self, name: str) -> None:
        """All of a program's threads meet here, or none."""
        if self.active is not None and name.startswith("bar.sync"):
            met = self.active.reshape(-1, self.kernel.threads)
            if (met.any(1) != met.all(1)).any():
                raise Fault("a part of a program's threads meets at a barrier")

    def _move(self, name: str, operands: tuple, mask: np.ndarray | None) -> None:
        to, source = operands
        width = 1 if name.endswith("pred") else WIDTHS[re.search(r"\d+$", name)[0]]
        if isinstance(to, list):  # unpack, lowest first
            part = U[width // len(to)]
            pieces = np.ascontiguousarray(np.broadcast_to(self._get(source, width), (self.size,))).view(part)
            for i, register in enumerate(to):
                self._set(register, pieces.reshape(self.size, -1)[:, i], mask)
        elif isinstance(source, list):
            part = width // len(source)
            pieces = [np.broadcast_to(self._get(s, part), (self.size,)) for s in source]
            self._set(to, np.ascontiguousarray(np.stack(pieces, 1)).view(U[width])[:, 0], mask)
        else:
            self._set(to, self._get(source, width), mask)

    # ---------------------------------------------------------------------------------------------------- memory

    def _access(self, kind: str, name: str, operands: tuple, mask: np.ndarray | None) -> None:
        place, width = name.split(".")[1], WIDTHS[re.search(r"\d+$", name)[0]]
        address, registers = (operands[1], operands[0]) if kind == "ld" else operands
        registers = registers if isinstance(registers, list) else [registers]
        if place == "param":
            self._set(registers[0], U[width](self.values[address.strip("[]")] & (1 << 8 * width) - 1), mask)
            return
        base = self._address(address)
        if (base[slice(None) if mask is None else mask] % (width * len(registers))).any():
            raise Fault("an address is not aligned")
        if place == "global" and self.cost is not None:
            side = "loaded" if kind == "ld" else "stored"
            setattr(self.cost, side, getattr(self.cost, side) + self._sectors(base, mask))
        for i, register in enumerate(registers):
            at = base + i * width
            if kind == "ld":
                self._set(register, self._load(place, at, width, mask), mask)
            else:
                value = np.broadcast_to(self._get(register, width), (self.size,))
                self._store(place, at, value.astype(U[width]), mask)

    def _address(self, text: str) -> np.ndarray:
        base, _, offset = text.strip("[] ").partition("+")
        found = self._get(base.strip(), 8)
        return np.broadcast_to(np.asarray(found).astype(np.int64) + int(offset or 0), (self.size,))

    def _sectors(self, at: np.ndarray, mask: np.ndarray | None) -> int:
        """How many different ones each warp touches, in all. (An access lies in one: it is aligned, and no wider.)"""
        found = np.where(True if mask is None else mask, at // 32, -1).reshape(-1, WARP)
        found.sort(1)
        return int(((np.diff(found, axis=1, prepend=-1) != 0) & (found >= 0)).sum())

    def _regions(self, place: str, at: np.ndarray, width: int, mask: np.ndarray | None):
        """For each array that is touched: its elements of this width, the threads, and where in it they go."""
        threads = np.arange(self.size) if mask is None else np.flatnonzero(mask)
        at = at[threads]
        if not len(at):
            return
        if place == "shared":
            if at.min() < 0 or at.max() + width > self.shared_size:
                raise Fault("outside of the shared memory")
            yield self.shared.view(U[width]), threads, (at + self.shared_base[threads]) // width
            return
        left = np.ones(len(at), bool)
        for start, array in self.memory:
            inside = left & (at >= start) & (at + width <= start + array.nbytes)
            if inside.any():
                if start % width:
                    raise Fault("an array is not aligned")
                offsets = (at[inside] - start) // width
                yield array[: array.nbytes // width * width].view(U[width]), threads[inside], offsets
                left &= ~inside
            if not left.any():
                return
        raise Fault("outside of every array")

    def _load(self, place: str, at: np.ndarray, width: int, mask: np.ndarray | None) -> np.ndarray:
        out = np.zeros(self.size, U[width])
        for array, threads, offsets in self._regions(place, at, width, mask):
            out[threads] = array[offsets]
        return out

    def _store(self, place: str, at: np.ndarray, value: np.ndarray, mask: np.ndarray | None) -> None:
        for array, threads, offsets in self._regions(place, at, value.itemsize, mask):
            array[offsets] = value[threads]

    def _matrix(self, kind: str, name: str, operands: tuple, mask: np.ndarray | None) -> None:
        """8 x 8 matrices of 16 bits: lane 8k + j names row j of matrix k; lane t has its columns 2(t%4) of row t/4."""
        if mask is not None or not re.fullmatch(r"(ld|st)matrix\.sync\.aligned\.m8n8\.x\d\.shared\.b16", name):
            raise Fault("is not known here")
        address, registers = (operands[1], operands[0]) if kind == "ldmatrix" else operands
        rows = self._address(address).reshape(-1, WARP)
        for k, register in enumerate(registers):
            at = rows[:, 8 * k + np.arange(WARP) // 4] + 4 * (np.arange(WARP) % 4)
            if (rows[:, 8 * k : 8 * k + 8] % 16).any():
                raise Fault("an address is not aligned")
            if kind == "ldmatrix":
                self._set(register, self._load("shared", at.ravel(), 4, None), None)
            else:
                self._store("shared", at.ravel(), np.array(self._get(register, 4)), None)

    def _exchange(self, kind: str, name: str, operands: tuple, mask: np.ndarray | None) -> None:
        """Between the lanes of a warp."""
        value = np.broadcast_to(self._get(operands[1], 4), (self.size,)).reshape(-1, WARP)
        if mask is not None and (mask.reshape(-1, WARP).any(1) != mask.reshape(-1, WARP).all(1)).any():
            raise Fault("a part of a warp exchanges")
        if kind == "redux":
            combine = redux(name)
            found = value[:, 0]
            for lane in range(1, WARP):
                found = combine(found, value[:, lane])
            self._set(operands[0], np.repeat(found, WARP), mask)
            return
        b, c = (np.broadcast_to(self._get(o, 4), (self.size,)).reshape(-1, WARP).astype(np.int64) for o in operands[2:4])
        lane = np.arange(WARP)[None, :]
        segment, clamp = c >> 8 & 31, c & 31
        first, last = lane & segment, lane & segment | clamp & ~segment
        if name == "shfl.sync.idx.b32":
            source = first | b & 31 & ~segment
        elif name == "shfl.sync.bfly.b32":
            source = lane ^ b & 31
        else:
            raise Fault("is not known here")
        source = np.where(source <= last, source, lane)
        self._set(operands[0], np.take_along_axis(value, source, 1).ravel(), mask)


def _dtype(register: str) -> type:
    return {"%p": bool, "%rs": np.uint16, "%rd": np.uint64}.get(register.rstrip("0123456789"), np.uint32)
