"""Axes that may be of any length: no key and no other tensor of the file tells it, or nothing in config.json and the checkpoint.

By class, the axis of a row's name, and why. The conversion takes what it finds; whether the runtime or transformers does is theirs
to say. A law fails where one becomes checkable, and where another turns up (`laws/test_shape_laws.py`).
"""

POSITIONS = "the runtime resizes the table for each image, or reads as much of it as it needs"
FRAMES = "max_source_positions has no key; the runtime reads as many rows as the sound has frames"
KERNEL = "the length of a convolution, which only its own weight shows"
CONCATENATED = "the sum of what other parts of the tower give, which the rows do not add up"
VOCABULARY = "no other tensor has a row for each"
TOKENS_BESIDE = "as many rows as the tower puts tokens in front of the patches"

_HEARD = {"a.position_embd.weight:0": FRAMES}
_SEEN = {"v.position_embd.weight:0": POSITIONS}
_SEANET = (*(f"blk.{n}.{name}" for n in range(3) for name in ("res_conv1", "scale_conv")), "conv_in", "conv_out")
_MIMI = ("0.conv", "1.block.1.conv", "3.conv", "4.block.1.conv", "6.conv", "7.block.1.conv", "9.conv", "11.conv"), (
    "0.conv", "2.convtr", "3.block.1.conv", "5.convtr", "6.block.1.conv", "8.convtr", "9.block.1.conv", "11.conv")

UNSEEN_IN_GGUF: dict[str, dict[str, str]] = {
    "DFlash2DraftModel": {"output.weight:0": "without d2t a head has a row for each of the target's tokens, which no key counts"},
    "Qwen4ExpForCausalLM": {"per_layer_token_embd.weight:0": VOCABULARY},
    "Qwen4ExpForConditionalGeneration": {"per_layer_token_embd.weight:0": VOCABULARY},
    **dict.fromkeys(("Qwen2AudioForConditionalGeneration", "UltravoxModel", "VoxtralForConditionalGeneration",
                     "AudioFlamingo3ForConditionalGeneration", "MERaLiON2ForConditionalGeneration", "GlmasrModel"), _HEARD),
    "Gemma4ForConditionalGeneration": {"v.position_embd.weight:1": POSITIONS},
    "Gemma4UnifiedForConditionalGeneration": {
        "v.position_embd.weight:1": POSITIONS, "mm.input_projection.weight:1": "output_proj_dims has no key"},
    **dict.fromkeys(("Glm4vForConditionalGeneration", "MiniCPMV4_6ForConditionalGeneration", "Lfm2VlForConditionalGeneration",
                     "PaddleOCRVLForConditionalGeneration", "HunYuanVLForConditionalGeneration"), _SEEN),
    "NemotronH_Nano_VL_V2": {"v.class_embd:0": TOKENS_BESIDE, "a.window:0": KERNEL},
    "Lfm2AudioForConditionalGeneration": {"a.pre_encode.out.{p}:1": CONCATENATED},
    "Gemma3nForConditionalGeneration": {
        "mm.embedding.{p}:0": VOCABULARY, "mm.a.embedding.{p}:0": VOCABULARY,
        "v.blk.{s}.{i}.conv_exp.weight:1": "what the block before gives: a row knows its own block alone",
        "v.msfa.ffn.pw_exp.conv.weight:1": CONCATENATED},
    "PocketTTSModel": {
        "token_embd.weight:0": VOCABULARY,
        **{f"a.{side}seanet.{name}.weight:2": KERNEL for side in ("", "gen.wav.") for name in _SEANET}},
    "Qwen3TTSForConditionalGeneration": {
        "token_embd.weight:0": VOCABULARY, "a.gen.code.out_embd.weight:0": VOCABULARY,
        "a.gen.wav.quant.first.codebook.weight:0": VOCABULARY, "a.gen.wav.quant.rest.codebook.weight:1": VOCABULARY,
        "a.conv_out.weight:1": CONCATENATED,
        **{f"a.{name}.weight:2": KERNEL for name in (
            "conv1d.0", "gen.wav.pre_conv", "gen.wav.up.blk.{u}.conv", "gen.wav.dac.post_conv",
            *(f"gen.wav.dac.blk.{n}.conv" for n in range(4)))}},
    "MiMoV2ForCausalLM": {"mm.a.code_embd.weight:1": VOCABULARY},
}

UNSEEN_IN_HF: dict[str, dict[str, str]] = {
    "DFlash2DraftModel": {"lm_head.weight:0": "draft_vocab_size may be left out where the draft has its target's vocabulary"},
    "NemotronH_Nano_VL_V2": {
        "vision_model.radio_model.model.patch_generator.cls_token.token:0": TOKENS_BESIDE,
        "vision_model.radio_model.model.patch_generator.pos_embed:1": "max_resolution may be left out; the table is resized anyway",
        "sound_encoder.encoder.feature_extractor.featurizer.window:0": KERNEL},
    "Lfm2AudioForConditionalGeneration": {"conformer.pre_encode.out.{p}:1": CONCATENATED},
    "Gemma3nForConditionalGeneration": {
        "model.vision_tower.timm_model.blocks.{s}.{i}.conv_exp.weight:1": "what the block before gives: a row knows its own block alone",
        "model.vision_tower.timm_model.msfa.ffn.pw_exp.conv.weight:1": CONCATENATED},
    "PocketTTSModel": {
        "flow_lm.conditioner.embed.weight:0": "checkpoints have no config.json",
        **{f"mimi.{side}.model.{name}.weight:2": KERNEL
           for side, names in zip(("encoder", "decoder"), _MIMI, strict=True) for name in names}},
    "Qwen3TTSForConditionalGeneration": {
        "speaker_encoder.blocks.0.conv.weight:2": KERNEL, "speaker_encoder.mfa.conv.weight:1": CONCATENATED,
        **{f"speech_tokenizer/decoder.{name}.weight:2": KERNEL for name in (
            "pre_conv.conv", "upsample.{u}.0.conv", "decoder.6.conv", *(f"decoder.{n}.block.1.conv" for n in range(1, 5)))}},
}
