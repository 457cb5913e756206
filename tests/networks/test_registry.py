from __future__ import annotations

import pytest

from nas_jax.errors import ConfigError, GenotypeError, MaskError
from nas_jax.networks import (
    DerivedNetwork,
    NasBench201Network,
    NasBench201Supernet,
    Supernet,
    check_images,
    get_network,
    get_supernet,
    is_nasbench201,
)
from nas_jax.spaces import Genotype, SpaceMask, get_mask, get_space
from nas_jax.spaces.nasbench201 import architecture, genotype_of

BENCH = get_mask("nasbench201")


@pytest.mark.parametrize("name", ["darts", "s1", "s2", "s3"])
def test_supernets_of_the_darts_space(name: str) -> None:
    mask = get_mask(name)
    network = get_supernet(mask, 4, 3, 7, remat="wave", dtype="bfloat16")
    assert network == Supernet(mask, 4, 3, 7, remat="wave", dtype="bfloat16")


def test_supernet_of_nasbench201() -> None:
    network = get_supernet(BENCH, 4, 3, 7, remat="wave", dtype="bfloat16")
    assert network == NasBench201Supernet(
        BENCH, channels=4, cells=3, num_classes=7, remat="wave", dtype="bfloat16"
    )


def test_networks_that_are_trained() -> None:
    found = genotype_of(architecture(3))
    assert get_network(found, 4, 3, 7) == NasBench201Network(found, 4, 3, 7)
    pairs = "('skip_connect', 0), ('sep_conv_3x3', 1)"
    darts = Genotype.parse(
        get_space("darts", 1), f"Genotype(normal=[{pairs}], reduce=[{pairs}])"
    )
    assert get_network(darts, 4, 3, 7) == DerivedNetwork(darts, 4, 3, 7)


def test_an_architecture_without_a_path_is_refused() -> None:
    ops = ("nor_conv_3x3", "none", "none", "none", "none", "skip_connect")
    with pytest.raises(GenotypeError) as error:
        get_network(genotype_of(ops), 4, 3, 7)
    assert "|nor_conv_3x3~0|+" in str(error.value)
    assert "--genotype" in str(error.value)


def test_an_operation_that_no_network_computes() -> None:
    mask = get_mask("s4")
    for make in (get_supernet, get_network):
        argument = mask if make is get_supernet else genotype_of_s4()
        with pytest.raises(MaskError, match="computes noise.*sep_conv_3x3"):
            make(argument, 4, 3, 7)


def genotype_of_s4() -> Genotype:
    space = get_mask("s4").space
    genes = [(op, s) for _ in range(4) for op, s in (("noise", 0), ("noise", 1))]
    return Genotype.parse(space, f"Genotype(normal={genes}, reduce={genes})")


def test_images() -> None:
    check_images(BENCH.space, 4, 8, 5)
    with pytest.raises(ConfigError, match="6x8 .* multiples of 4"):
        check_images(BENCH.space, 6, 8, 5)
    # A supernet of 3 cells halves twice and has 2 pixels left.
    darts = get_space("darts")
    check_images(darts, 8, 8, 3)
    with pytest.raises(ConfigError, match="4x8 does not fit 3 layers"):
        check_images(darts, 4, 8, 3)


def test_is_nasbench201() -> None:
    assert is_nasbench201(BENCH.space) and not is_nasbench201(get_space("darts"))
    assert is_nasbench201(SpaceMask.from_json(BENCH.space, BENCH.to_json()).space)
