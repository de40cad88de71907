"""The adapters of one encoder: a set of parameters per key, over layers that stay where they are."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Int
from torch import Tensor, nn

from awase.adapters.adapter import Adapter, Adapters, Switch
from awase.adapters.layers import adapters_of, convert, is_adapted, restore
from awase.adapters.mix import Mix
from awase.adapters.product import delta_weight, new_adapter
from awase.adapters.targets import resolve_targets
from awase.config import AdapterConfig
from awase.digest import tensors_digest

DEFAULT_KEY = "default"


class Bank:
    """All adapters of an encoder by key: a written combination of modalities, or `default`.

    A bank is a view and holds no state of its own: `Bank(encoder)` finds the adapters wherever they came from. Names of
    the encoder's own parameters and buffers never change; those of adapters are `<layer>.lora.<key>.A` and `.B`.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = encoder
        self._known: tuple[Switch, ...] = (Switch(),)

    @classmethod
    def inject(cls, encoder: nn.Module, config: AdapterConfig, *, key: str = DEFAULT_KEY, seed: int) -> "Bank":
        """The bank of `encoder` after adding an adapter `key` to every layer that `config` targets, and activating it.

        The layers change in place and give exactly what they gave, as every new product is zero. The matrices depend
        on `seed` and the targets alone. Raises `ValueError` for targets that match nothing, layers that cannot take an
        adapter, and a key that is in use or cannot be part of a parameter's name.
        """
        names = resolve_targets(encoder, config.targets, config.last_layers)
        generator = torch.Generator().manual_seed(seed)
        alpha = config.rank if config.alpha is None else config.alpha
        adapters = {
            name: new_adapter(
                encoder.get_submodule(name),
                config.rank,
                scale=alpha / config.rank,
                dropout=config.dropout,
                generator=generator,
            )
            for name in names
        }
        bank = cls(encoder)
        bank.add(key, adapters)
        return bank

    def add(self, key: str, adapters: dict[str, Adapter]) -> None:
        """Puts the given adapters, by layer name, under the new `key` and activates it. Raises as `inject` does."""
        if not key or "." in key or key in self.keys():
            raise ValueError(
                f"{key!r} cannot name a new adapter: keys are unique and have no dot. In use: {self._list()}."
            )
        self._refuse_merged("add an adapter")
        converted = []
        try:
            for name in adapters:
                layer = self.encoder.get_submodule(name)
                if not is_adapted(layer):
                    convert(layer, self._switches[0])
                    converted.append(layer)
        except ValueError as error:
            for layer in converted:
                restore(layer)
            raise ValueError(f"Layer {name}: {error}") from None
        for name, adapter in adapters.items():
            layer = self.encoder.get_submodule(name)
            adapters_of(layer).put(key, adapter.train(layer.training))
        self.activate(key)

    def keys(self) -> tuple[str, ...]:
        """The keys of all adapters, in the order in which they were added."""
        return tuple(dict.fromkeys(key for switch in self._switches for key in switch.keys))

    def layer_names(self, key: str | None = None) -> tuple[str, ...]:
        """Names of the layers that have an adapter of `key`, or of any key, in module order."""
        layers = self._layers()
        return tuple(layers) if key is None else tuple(self.adapters(key))

    def adapters(self, key: str) -> dict[str, Adapter]:
        """The adapter of `key` on each layer that has one. Raises `KeyError` for an unknown key."""
        found = {name: held.get(key) for name, held in self._layers().items()}
        self._check(key)
        return {name: adapter for name, adapter in found.items() if adapter is not None}

    def parameters(self, key: str) -> dict[str, nn.Parameter]:
        """The parameters of `key` under their names in the encoder. Raises `KeyError` for an unknown key."""
        named = ((f"{layer}.lora.{key}", adapter) for layer, adapter in self.adapters(key).items())
        return {f"{prefix}.{name}": p for prefix, adapter in named for name, p in adapter.named_parameters()}

    def fingerprint(self, key: str | None = None) -> str:
        """A digest of every bit of the adapters of `key`, or of the base's own parameters and buffers.

        Two keys with the same matrices have the same one. Raises `KeyError` for an unknown key, `ValueError` of the
        base while an adapter is merged into it.
        """
        if key is not None:
            tensors = {
                f"{layer}.{name}": value
                for layer, adapter in self.adapters(key).items()
                for name, value in adapter.state_dict().items()
            }
            return tensors_digest(tensors)
        self._refuse_merged("take the fingerprint of the base")
        adapted = adapter_parameter_names(self.encoder)
        return tensors_digest({name: value for name, value in self.encoder.state_dict().items() if name not in adapted})

    @property
    def active_key(self) -> str | None:
        """The key whose adapters act now; None where the encoder gives its base output."""
        return self._switches[0].active

    def activate(self, key: str | None) -> None:
        """Makes the adapters of `key` act, and no others; None gives the base output, bit for bit.

        Raises `KeyError` for an unknown key, `ValueError` while an adapter is merged.
        """
        self._refuse_merged("activate another")
        if key is not None:
            self._check(key)
        for switch in self._switches:
            switch.active = key

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within the block the encoder gives its base output; afterwards the same key acts as before."""
        key = self.active_key
        self.activate(None)
        try:
            yield
        finally:
            self.activate(key)

    @contextmanager
    def mixed(self, keys: Sequence[str | None], index: Int[Tensor, " rows"] | None = None) -> Iterator[None]:
        """Within the block every row of a batch has the adapter of its own key; None is the base alone.

        `index` gives each row's place in `keys`; without it a batch is as many equal blocks as there are keys. A layer
        that sees several rows per sample (frames) takes them in the order of the samples. The cost of the base does not
        depend on the number of keys, and entering the block walks over no module. A layer that lacks a key's adapter
        gives that key its base output; in training those of a layer share their dropout. Raises `KeyError` for an
        unknown key, `ValueError` while an adapter is merged, without a key, and, on a CPU, for an index outside.
        """
        self._refuse_merged("mix several")
        for key in keys:
            if key is not None:
                self._check(key)
        if not keys or _is_outside(index, len(keys)):
            raise ValueError(f"Every row needs one of the {len(keys)} keys given; index: {index}.")
        mix, before = Mix(tuple(keys), index), [switch.mix for switch in self._switches]
        try:
            for switch in self._switches:
                switch.mix = mix
            yield
        finally:
            for switch, earlier in zip(self._switches, before, strict=True):
                switch.mix = earlier

    @torch.no_grad()
    def merge(self, key: str) -> None:
        """Adds the products of `key` to the weights, which then cost nothing extra; `unmerge` takes them back.

        Raises `KeyError` for an unknown key, `ValueError` while an adapter is merged.
        """
        adapters = self.adapters(key)
        self._refuse_merged("merge")
        for name, adapter in adapters.items():
            layer = self.encoder.get_submodule(name)
            weight = layer.get_parameter("weight")
            adapters_of(layer).original = weight.detach().clone()
            weight.add_(delta_weight(layer, adapter).to(weight.dtype))
        for switch in self._switches:
            switch.merged = key

    @torch.no_grad()
    def unmerge(self, key: str) -> None:
        """Puts the weights back that `merge` changed, bit for bit. Raises `ValueError` if `key` is not merged."""
        if self._merged() != key:
            raise ValueError(f"The adapter {key!r} is not merged; merged now: {self._merged() or 'none'}.")
        for name, held in self._layers().items():
            if held.original is not None:
                self.encoder.get_submodule(name).get_parameter("weight").copy_(held.original)
            held.original = None
        for switch in self._switches:
            switch.merged = None

    def remove(self, key: str) -> None:
        """Takes the adapters of `key` away; without the last one the layers have their original classes again.

        Raises `KeyError` for an unknown key, `ValueError` while an adapter is merged.
        """
        adapters = self.adapters(key)
        self._refuse_merged("remove an adapter")
        if self.active_key == key:
            self.activate(None)
        for name in adapters:
            layer = self.encoder.get_submodule(name)
            adapters_of(layer).drop(key)
            if not adapters_of(layer).names():
                restore(layer)

    def fold(self, key: str) -> None:
        """Adds the products of `key` to the weights for good and removes every adapter: a plain encoder is left."""
        if self._merged() != key:
            self.merge(key)
        for name in self._layers():
            restore(self.encoder.get_submodule(name))
        for switch in self._switches:
            switch.merged = switch.active = None

    def _layers(self) -> dict[str, Adapters]:
        return {name: adapters_of(module) for name, module in self.encoder.named_modules() if is_adapted(module)}

    @property
    def _switches(self) -> tuple[Switch, ...]:
        """What switches the layers, looked for while no adapter is known: several where encoders lie side by side."""
        if not any(switch.keys for switch in self._known):
            found = {id(held.switch): held.switch for held in self._layers().values()}
            self._known = tuple(found.values()) or self._known[:1]
        return self._known

    def _check(self, key: str) -> None:
        if key not in self.keys():
            raise KeyError(f"This encoder has no adapter {key!r}. It has: {self._list()}.")

    def _merged(self) -> str | None:
        return self._switches[0].merged

    def _refuse_merged(self, action: str) -> None:
        merged = self._merged()
        if merged is not None:
            raise ValueError(f"Cannot {action} while the adapter {merged!r} is merged; call unmerge({merged!r}) first.")

    def _list(self) -> str:
        return ", ".join(self.keys()) or "none"


def _is_outside(index: Int[Tensor, " rows"] | None, count: int) -> bool:
    """Whether a place is none of `count`; not looked at where looking would mean waiting for a GPU."""
    return index is not None and index.device.type == "cpu" and bool(((index < 0) | (index >= count)).any())


def adapter_parameter_names(module: nn.Module) -> set[str]:
    """The names in `module.state_dict()` that belong to adapters; empty where there are none."""
    return {
        f"{name}.lora.{inner}".removeprefix(".")
        for name, layer in module.named_modules()
        if is_adapted(layer)
        for inner in adapters_of(layer).state_dict()
    }
