"""The model card: what a model is, what it was measured to do, and what nobody should use it for unseen."""

from awase.runner.spec import SavedModel


def model_card(saved: SavedModel) -> str:
    """The README of a saved model, in the Hub's form."""
    spec, facts = saved.spec, saved.card
    metrics = "\n".join(f"| {name} | {value:.4f} |" for name, value in facts.get("test", {}).items())
    inputs = "\n".join(
        f"| {name} | {spec.inputs[name].kind} | {' x '.join(map(str, spec.shapes[name]))} | "
        f"{facts.get('weights', {}).get(name, {}).get('weights', 'unknown')} |"
        for name in saved.stage.modalities
    )
    one = "[model.classes[k] for k in predictions.predicted]"
    several = "[[c for c, yes in zip(model.classes, row) if yes] for row in predictions.predicted]"
    said = several if spec.multi_label else one
    return f"""---
library_name: awase
tags: [multimodal, awase, {facts.get("method", "classifier")}]
---
# {facts.get("method", "A classifier")} on {facts.get("dataset", "unnamed data")}

{len(spec.classes)} classes ({spec.task.replace("_", " ")}) from {", ".join(saved.stage.modalities)}. Fusion:
`{saved.stage.fusion.name}`. Any modality may be missing.

| modality | kind | shape of one sample | weights it began from |
| --- | --- | --- | --- |
{inputs}

## Measured

On the test split of its data ({facts.get("count", "?")} samples), one seed ({spec.seed}); one seed says little about
the method.

| metric | value |
| --- | --- |
{metrics}

## Use

```python
from awase import Model

model = Model.from_pretrained("this/folder")
predictions = model.predict([{{{", ".join(f'"{spec.inputs[n].column}": "..."' for n in saved.stage.modalities)}}}])
print({said})
```

Trained with awase {facts.get("version", "?")}; data fingerprint `{facts.get("fingerprint", "?")}`. What the training
data does not cover, this model does not know.
"""
