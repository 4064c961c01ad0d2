"""What operating systems do differently, under one name each: `posix` and `windows` hold the same functions.

Nobody else asks which system this is. Callers say `system.pread(..)`, never `from system import pread`, so that the tests
can put the other body in its place. Imports nothing of ours.
"""

import os

if os.name == "nt":
    from .windows import (
        CUDA_DRIVER,
        after_fork,
        check_replaceable,
        copy_range,
        cpu_count,
        free_space,
        lock,
        may_write,
        open_own,
        opener,
        pread,
        pwrite,
        remove,
        rename,
        reserve,
        set_mode,
        start_sync,
        sync_file,
        sync_folder,
        taken,
    )
else:
    from .posix import (
        CUDA_DRIVER,
        after_fork,
        check_replaceable,
        copy_range,
        cpu_count,
        free_space,
        lock,
        may_write,
        open_own,
        opener,
        pread,
        pwrite,
        remove,
        rename,
        reserve,
        set_mode,
        start_sync,
        sync_file,
        sync_folder,
        taken,
    )

__all__ = ["CUDA_DRIVER", "after_fork", "check_replaceable", "copy_range", "cpu_count", "free_space", "lock", "may_write",
           "open_own", "opener", "pread", "pwrite", "remove", "rename", "reserve", "set_mode", "start_sync", "sync_file",
           "sync_folder", "taken"]
