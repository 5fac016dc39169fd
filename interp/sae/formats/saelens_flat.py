"""The cfg.json of SAELens before 6.0: one flat object, in the oldest files with the settings of the whole training.

Its oldest files leave conventions out that its code then took for granted. They are not guessed here either: what a
file does not state has to be declared, and the refusal says what SAELens itself would assume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp.errors import InvalidInput
from interp.sae.formats.parse import common, site_of_hook

_RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation",
    "activation_fn": "activation",
}
_ASSUMED: dict[str, Any] = {
    "architecture": "standard",
    "activation": "relu",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
}
"""What SAELens takes for granted where such a file says nothing."""

# How an SAE was trained, logged or published; nothing of it changes what the finished SAE computes.
_IGNORED = set(
    """
    device dtype seed verbose resume model_class_name model_kwargs model_from_pretrained_kwargs sae_lens_version
    sae_lens_training_version neuronpedia_id from_pretrained_path reshape_activations
    hook_layer hook_point_layer hook_eval hook_point_eval seqpos_slice exclude_special_tokens
    dataset_path dataset_trust_remote_code streaming is_dataset_tokenized disable_concat_sequences
    use_cached_activations cached_activations_path new_cached_activations_path sequence_separator_token
    n_batches_in_buffer tokens_per_buffer store_batch_size store_batch_size_prompts act_store_device
    activations_mixing_fraction training_tokens total_training_tokens finetuning_tokens finetuning_method
    train_batch_size train_batch_size_tokens n_eval_batches eval_batch_size_prompts eval_every_n_wandb_logs
    autocast autocast_lm autocast_sae compile_llm llm_compilation_mode compile_sae sae_compilation_mode prefetch_llm
    expansion_factor b_dec_init_method normalize_sae_decoder noise_scale decoder_orthogonal_init
    decoder_heuristic_init decoder_heuristic_init_norm init_encoder_as_decoder_transpose
    scale_sparsity_penalty_by_decoder_norm mse_loss_normalization lp_norm l1_coefficient l1_warm_up_steps
    jumprelu_init_threshold jumprelu_bandwidth
    adam_beta1 adam_beta2 lr lr_end lr_scheduler_name lr_warm_up_steps lr_decay_steps n_restart_cycles
    use_ghost_grads feature_sampling_window feature_sampling_method resample_batches feature_reinit_scale
    dead_feature_window dead_feature_estimation_method dead_feature_threshold
    log_to_wandb log_activations_store_to_wandb log_optimizer_state_to_wandb log_weights_to_wandb wandb_project
    wandb_id wandb_entity wandb_log_frequency run_name n_checkpoints checkpoint_path
    """.split()
)


def flat_saelens(cfg: Mapping[str, Any], declare: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a config that a flat cfg.json states.

    Raises:
        InvalidInput: a convention is neither stated nor declared, or it is one that is not computed here.
    """
    flat = {_RENAMED.get(key, key): value for key, value in cfg.items() if key not in _IGNORED}
    if flat.pop("finetuning_scaling_factor", False):
        raise InvalidInput("cfg.json (SAELens before 6.0): finetuning_scaling_factor true is not computed here.")
    stated = {**{key: declare[key] for key in _ASSUMED if key in declare}, **flat}
    stated["normalize_activations"] = _normalisation(stated)
    if stated.get("activation") == "topk":
        stated["architecture"] = "topk"  # which SAELens before 6.0 calls standard
    _refuse_unsaid(stated)
    activation = stated.pop("activation")
    if activation not in ("relu", "topk"):
        raise InvalidInput(f"cfg.json (SAELens before 6.0): activation_fn_str is relu or topk, not {activation!r}.")
    k = (stated.pop("activation_fn_kwargs", None) or {}).get("k")
    known = common(stated.pop("architecture"), stated.pop("d_in", None), stated.pop("d_sae", None)) | origin(stated)
    for key in ("hook_name", "hook_head_index", "model_name", "prepend_bos", "context_size"):
        stated.pop(key, None)
    return known | {"k": k} | stated  # the two conventions; anything else is refused later by name


def origin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the activations of an SAE came from, as SAELens says it."""
    hook = metadata.get("hook_name")
    bos = {True: "always", False: "never"}.get(metadata.get("prepend_bos"))  # type: ignore[arg-type]
    return {
        "model_name": metadata.get("model_name"),
        "hook_name": hook,
        "site": site_of_hook(hook, metadata.get("hook_head_index")),
        "context_size": metadata.get("context_size"),
        "bos": bos,
    }


def _normalisation(stated: Mapping[str, Any]) -> Any:
    """Return what `normalize_activations` means; older files have true or false, or null."""
    value = stated.get("normalize_activations")
    if value is False or (value is None and "normalize_activations" in stated):
        return "none"
    return "expected_average_only_in" if value is True else value


def _refuse_unsaid(stated: Mapping[str, Any]) -> None:
    unsaid = {key: value for key, value in _ASSUMED.items() if stated.get(key) is None}
    if unsaid:
        raise InvalidInput(
            f"cfg.json (SAELens before 6.0) does not state {', '.join(unsaid)}, and nothing is guessed. SAELens itself "
            f"would assume declare={unsaid!r}; pass that if you know that it holds for this SAE."
        )
