"""PMF-L: prompt-based fusion of the large pair of towers."""

from awase.config import Node
from awase.methods.context import Changes, MethodContext
from awase.methods.pmf import Towers, pmf


def pmf_l(
    context: MethodContext,
    modalities: tuple[str, str] | None = None,
    num_fused: int = 2,
    num_query: int = 4,
    num_query_context: int = 4,
    num_fusion_context: int = 4,
    width: int = 1024,
    towers: Towers = "pretrained",
    training: Changes | None = None,
) -> list[Node]:
    """`pmf` with two large towers, such as ViT-L and BERT-large: encoders that are not 1024 wide are refused.

    Source: Li et al., Efficient Multimodal Fusion via Interactive Prompting, CVPR 2023.
    """
    return pmf(
        context,
        modalities=modalities,
        num_fused=num_fused,
        num_query=num_query,
        num_query_context=num_query_context,
        num_fusion_context=num_fusion_context,
        width=width,
        towers=towers,
        training=training,
    )
