"""Official SAM 2 models: built from their published configurations, weights loaded strictly."""

from collections.abc import Mapping

import sam2  # noqa: F401  (registers its model configurations with hydra)
from hydra import compose
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from streamtrack.errors import CheckpointError, ConfigError
from streamtrack.tracking.memory import PROMPTED_FRAMES_ATTENDED

_SIZE_STEP = 32  # coarsest stride of every trunk


def build_sam2(config: str, *, image_size: int) -> SAM2Base:
    """Build an official SAM 2 model with random weights from its published configuration.

    The options are those of `build_sam2_video_predictor(apply_postprocessing=True)`.

    Args:
        config: name inside the sam2 package, such as "configs/sam2.1/sam2.1_hiera_t.yaml".
        image_size: side of the input in pixels, a multiple of 32.

    Raises:
        ConfigError: the image size is not a positive multiple of 32.
    """
    check_image_size(image_size)
    decoder = "++model.sam_mask_decoder_extra_args.dynamic_multimask"
    overrides = [
        f"{decoder}_via_stability=true",
        f"{decoder}_stability_delta=0.05",
        f"{decoder}_stability_thresh=0.98",
        "++model.binarize_mask_from_pts_for_mem_enc=true",
        f"++model.max_cond_frames_in_attn={PROMPTED_FRAMES_ATTENDED}",
        f"++model.image_size={image_size}",
    ]
    settings = compose(config_name=config, overrides=overrides)
    OmegaConf.resolve(settings)
    model: SAM2Base = instantiate(settings.model, _recursive_=True)
    return model.eval()


def check_image_size(image_size: int) -> None:
    """Raise ConfigError unless the size is a positive multiple of 32."""
    if image_size < 2 * _SIZE_STEP or image_size % _SIZE_STEP:
        raise ConfigError(
            f"The image size is {image_size}, but must be a multiple of {_SIZE_STEP} of at least "
            f"{2 * _SIZE_STEP}; try 512."
        )


def load_weights(model: SAM2Base, state: Mapping[str, Tensor], origin: str) -> None:
    """Load weights strictly.

    Raises:
        CheckpointError: the weights do not fit the model.
    """
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{origin} does not fit the model ({reason}); give the checkpoint of this model."
        ) from None
