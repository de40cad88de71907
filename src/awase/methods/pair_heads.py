"""A projection of one pair's own over a joint space that stands still: the baseline of adapters."""

from awase.config import Node, RetrievalConfig, StageConfig
from awase.methods.context import Changes, MethodContext, changed
from awase.methods.mcn import Settings, covered, mcn


def pair_heads(
    context: MethodContext,
    pair: str,
    retrieval: Settings | None = None,
    training: Changes | None = None,
    shared_training: Changes | None = None,
) -> list[Node]:
    """A shared space as of `mcn`, then the projections of one pair (`audio+text`), trained on that pair alone.

    They begin as those of the shared space, whose encoders stand still. `retrieval` changes fields of the space
    (`config.RetrievalConfig`), `training` the last stage and `shared_training` the shared one before it.
    """
    modalities = covered(context, (pair,))
    (shared,) = mcn(context, retrieval=retrieval, training=shared_training)
    assert isinstance(shared, StageConfig), "a joint space is one stage"
    assert shared.retrieval is not None, "the stage has a joint space"
    space = {**shared.retrieval.model_dump(), "pairs": {pair: 1.0}, "clustering": None, "clustered": ()}
    space |= {"reconstruction": {**space["reconstruction"], "weight": 0.0}, "reconstructed": ()}
    stage = StageConfig(
        name="heads",
        modalities=modalities,
        train=("*.head",),
        start=(shared.name,),
        retrieval=RetrievalConfig.model_validate(space),
        training=changed(context.joint, training),
    )
    return [shared, stage]
