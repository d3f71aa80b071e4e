import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from i2i.networks.reference_weights import (
    Architecture,
    build,
    describe,
    from_reference,
    load_file,
    read,
    save_reference,
    to_reference,
)

REFERENCE = Path(os.environ.get("I2I_TEST_DATA", "")) / "reference"
needs_reference = pytest.mark.skipif("I2I_TEST_DATA" not in os.environ, reason="I2I_TEST_DATA is not set")

NETWORKS = [
    "patchgan_5layers",
    "patchgan_conditional",
    "patchgan_instance",
    "pixel",
    "resnet_6blocks_batchnorm",
    "resnet_9blocks",
    "unet_128",
    "unet_256_instance",
]

SMALL = {
    "resnet": Architecture(
        "generator", "resnet", {"in_channels": 2, "out_channels": 3, "filters": 4, "dropout": False, "num_blocks": 2}
    ),
    "resnet with dropout": Architecture(
        "generator", "resnet_6blocks", {"in_channels": 1, "out_channels": 3, "filters": 4, "dropout": True}
    ),
    "unet": Architecture(
        "generator", "unet", {"in_channels": 2, "out_channels": 1, "filters": 4, "dropout": False, "num_downs": 5}
    ),
    "patchgan": Architecture("discriminator", "n_layers", {"in_channels": 4, "filters": 4, "n_layers": 2}),
    "pixel": Architecture("discriminator", "pixel", {"in_channels": 4, "filters": 4}),
}


def small(name: str, norm: str) -> Architecture:
    return replace(SMALL[name], keywords=SMALL[name].keywords | {"norm": norm}, norm_is_assumed=norm == "instance")


def reference_weights(name: str, norm: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = build(small(name, norm))
    if norm == "none":
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None:
                nn.init.zeros_(module.bias)
    return to_reference(network.state_dict(), small(name, norm))


# equality with the reference


@needs_reference
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_equal_the_references(name: str):
    figures = torch.load(REFERENCE / f"{name}.pt", weights_only=True)
    architecture, weights = from_reference(figures["state_dict"])
    network = build(architecture).double()
    network.load_state_dict(weights)
    image = figures["input"].double()
    # The forward in training mode moves the running statistics that the one in eval mode uses.
    for mode in (True, False):
        expected = figures["output_train_mode" if mode else "output_eval_mode"]
        torch.testing.assert_close(network.train(mode)(image), expected, rtol=0, atol=1e-9)


@needs_reference
@pytest.mark.parametrize("name", NETWORKS)
def test_architectures_are_inferred(name: str):
    figures = torch.load(REFERENCE / f"{name}.pt", weights_only=True)
    arguments = figures["arguments"]
    architecture = describe(figures["state_dict"])
    assert architecture.name == arguments.get("netG", arguments.get("netD"))
    expected = {
        "in_channels": arguments["input_nc"],
        "filters": arguments.get("ngf", arguments.get("ndf")),
        "norm": arguments["norm"],
    }
    if architecture.kind == "generator":
        expected |= {"out_channels": arguments["output_nc"], "dropout": arguments["use_dropout"]}
    elif architecture.name != "pixel":
        expected |= {"n_layers": arguments.get("n_layers_D", 3)}
    assert architecture.keywords == expected
    assert architecture.norm_is_assumed == (arguments["norm"] == "instance")


@needs_reference
def test_every_full_size_layout_comes_back_exactly():
    layouts = json.loads((REFERENCE / "state_dict_layouts.json").read_text())
    assert len(layouts) > 20
    for name, layout in layouts.items():
        tensors = {key: torch.rand(()).expand(shape) for key, shape in layout["tensors"].items()}
        architecture, weights = from_reference(tensors)
        described = name.split("/")[0].removeprefix("discriminator ").split()[0]
        assert (architecture.name, architecture.keywords["norm"]) == (described, name.split("/")[1])
        if described.startswith("resnet"):
            assert architecture.keywords["dropout"] == name.endswith("/dropout")
        with torch.device("meta"):
            network = build(architecture)
        # Loading on the meta device checks names and shapes without the memory.
        network.load_state_dict({key: tensor.to("meta") for key, tensor in weights.items()}, strict=True)
        restored = to_reference(weights, architecture)
        assert restored.keys() == tensors.keys()
        assert all(restored[key] is tensors[key] for key in tensors), name


# variants


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_any_depth_and_norm_comes_back(name: str, norm: str):
    weights = reference_weights(name, norm)
    assert describe(weights) == small(name, norm)
    architecture, ours = from_reference(weights)
    build(architecture).load_state_dict(ours, strict=True)
    restored = to_reference(ours, architecture)
    assert restored.keys() == weights.keys()
    assert all(restored[key].equal(weights[key]) for key in weights)


def test_norm_none_has_no_biases_in_the_reference():
    weights = reference_weights("patchgan", "none")
    assert [key for key in weights if key.endswith("bias")] == ["model.0.bias", "model.8.bias"]
    _, ours = from_reference(weights)
    assert not ours["layers.1.conv.bias"].any()
    ours["layers.1.conv.bias"] += 1
    with pytest.raises(ValueError, match="no bias 'layers.1.conv.bias' with norm none"):
        to_reference(ours, small("patchgan", "none"))


def test_norm_none_can_be_told_from_outside():
    weights = reference_weights("resnet", "instance")
    assert describe(weights).norm_is_assumed
    architecture, ours = from_reference(weights, norm="none")
    assert architecture.keywords["norm"] == "none"
    assert not architecture.norm_is_assumed
    assert ours["stem.conv.bias"].equal(weights["model.1.bias"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.module."])
@pytest.mark.parametrize("name", SMALL)
def test_prefixes_are_dropped(name: str, prefix: str):
    weights = reference_weights(name, "batch")
    architecture, ours = from_reference({prefix + key: tensor for key, tensor in weights.items()})
    assert architecture == small(name, "batch")
    assert all(tensor.equal(from_reference(weights)[1][key]) for key, tensor in ours.items())


@pytest.mark.parametrize("name", SMALL)
def test_old_instance_norm_statistics_are_dropped(name: str):
    weights = reference_weights(name, "instance")
    statistics = {
        key: tensor
        for key, tensor in reference_weights(name, "batch").items()
        if key.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }
    assert statistics
    architecture, ours = from_reference(weights | statistics)
    assert architecture == small(name, "instance")
    assert to_reference(ours, architecture).keys() == weights.keys()


def test_old_batch_norms_did_not_count_batches():
    weights = {k: v for k, v in reference_weights("unet", "batch").items() if not k.endswith("num_batches_tracked")}
    architecture, ours = from_reference(weights)
    build(architecture).load_state_dict(ours, strict=True)
    assert ours["down.1.norm.num_batches_tracked"].item() == 0


def test_only_deconv_can_be_written():
    architecture = replace(SMALL["unet"], keywords=SMALL["unet"].keywords | {"upsample": "nearest", "norm": "batch"})
    with pytest.raises(ValueError, match="no upsampling 'nearest'"):
        to_reference(build(architecture).state_dict(), architecture)


# misfits


def message_of(weights: dict[str, Tensor], **keywords: str) -> str:
    with pytest.raises(ValueError) as caught:
        from_reference(weights, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_networks_are_named_by_their_first_keys():
    message = message_of({"encoder.weight": torch.zeros(1), "encoder.bias": torch.zeros(1)})
    assert "'encoder.weight', 'encoder.bias'" in message
    assert "model.10.conv_block.1.weight" in message
    assert "nothing" in message_of({})


def test_misfits_are_named():
    weights = reference_weights("resnet", "batch")
    assert "'model.4.weight' is missing" in message_of({k: v for k, v in weights.items() if k != "model.4.weight"})
    assert "'model.99.weight' is unexpected" in message_of(weights | {"model.99.weight": torch.zeros(3)})
    assert "'model.4.weight' has shape (8, 5, 3, 3) instead of (8, 4, 3, 3)" in message_of(
        weights | {"model.4.weight": torch.zeros(8, 5, 3, 3)}
    )
    assert "no convolution 'model.1.weight'" in message_of({k: v for k, v in weights.items() if k != "model.1.weight"})
    without = {k: v for k, v in weights.items() if ".conv_block." not in k or k.endswith("weight")}
    assert " more: give the norm" in message_of(without)


def test_a_norm_that_contradicts_the_weights_is_named():
    assert "with instance norm" in message_of(reference_weights("unet", "batch"), norm="instance")
    assert "is missing" in message_of(reference_weights("unet", "instance"), norm="batch")
    assert "unknown norm 'group'" in message_of(reference_weights("unet", "instance"), norm="group")


# files


def test_files_come_back(tmp_path: Path):
    architecture = small("patchgan", "instance")
    network = build(architecture)
    path = save_reference(tmp_path, "latest", "D_A", network.state_dict(), architecture)
    assert path == tmp_path / "latest_net_D_A.pth"
    assert "model.0.weight" in torch.load(path, weights_only=True)
    read_architecture, weights = read(path)
    assert read_architecture == architecture
    assert all(tensor.equal(weights[key]) for key, tensor in network.state_dict().items())


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_that_would_run_code_are_refused(tmp_path: Path, legacy: bool):
    trace, path = tmp_path / "trace", tmp_path / "latest_net_G.pth"
    torch.save({"model.1.weight": Malicious(trace)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match="latest_net_G.pth is refused"):
        load_file(path)
    path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    with pytest.raises(ValueError, match="latest_net_G.pth is refused"):
        load_file(path)
    assert not trace.exists()
    # The same bytes do run code where they are trusted.
    pickle.loads(path.read_bytes())
    assert trace.exists()


def test_files_that_are_no_weights_give_one_line(tmp_path: Path):
    path = tmp_path / "net.pth"
    save_reference(tmp_path, "latest", "G", build(small("unet", "batch")).state_dict(), small("unet", "batch"))
    whole = (tmp_path / "latest_net_G.pth").read_bytes()
    for content in (b"", b"not a checkpoint", whole[: len(whole) // 2], whole[: len(whole) - 30]):
        path.write_bytes(content)
        assert str(path) in failure(path)
    for other in ([torch.zeros(1)], {"state_dict": {"model.1.weight": torch.zeros(1)}}, {"epoch": 3}):
        torch.save(other, path)
        assert "is not a state dict" in failure(path)
    assert "No such file" in failure(tmp_path / "missing.pth")
    assert str(tmp_path) in failure(tmp_path)


def test_a_misfit_names_its_file(tmp_path: Path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    assert "other.pth: weights fit no known network" in failure(tmp_path / "other.pth")


def failure(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)
