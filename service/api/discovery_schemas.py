"""Schemas of the answers of a discovery; they mirror [`models.discovery`][models.discovery.discover]."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LayerDiscovery(BaseModel, from_attributes=True):
    """What the relaxation weights of one layer keep."""

    kept: list[str] = Field(
        description="elements that leave the relaxation weights of this layer unchanged", examples=[["x,y", "-x,y"]]
    )
    symbol: str = Field(description="Hermann-Mauguin symbol of the group of these elements", examples=["m"])
    irreps: dict[str, float] = Field(
        description="share of each irrep in the squared norm of the relaxation weights", examples=[{"A1": 0.9}]
    )


class Discovery(BaseModel, from_attributes=True):
    """Which symmetries pairs of fields keep."""

    group: str = Field(description="group whose elements were tested", examples=["D4"])
    elements: list[str] = Field(
        description="elements of `group`, each named by the image of a point", examples=[["x,y", "-y,x", "-x,y"]]
    )
    kept: list[str] = Field(
        description="elements of the largest subgroup that the pairs keep", examples=[["x,y", "-x,y"]]
    )
    symbol: str = Field(description="Hermann-Mauguin symbol of the group of the kept elements", examples=["m"])
    exact: bool = Field(
        description="whether the relaxation weights of all layers keep this group to rounding, which is 1e-9 in "
        "float64 and 1e-4 in float32; otherwise the pairs keep it on average"
    )
    layers: dict[str, LayerDiscovery] = Field(description="what each layer of the network keeps, to rounding")
    moved: list[str] = Field(
        description="irreps in the relaxation weights after the fit, averaged over the kept elements; if no symmetry "
        "is broken, only A, A1 or A1g",
        examples=[["A1", "B1"]],
    )
    p_values: dict[str, float] = Field(
        description="for each element, the share of random turns of the pairs, by powers of it, after which they keep "
        "it no better than before; small values mean that it is broken. Which group is kept is decided by tests of "
        "whole groups. Empty with too few pairs"
    )
    common: dict[str, float] = Field(
        description="for each element, the part of the departures from it that all pairs have in common: about 0 if it "
        "is kept on average, 1 if all pairs break it in the same way. To be used if the pairs depend on each other. "
        "Empty with too few pairs"
    )
    common_errors: dict[str, float] = Field(
        default={}, description="standard errors of `common`, from leaving out each eighth of the pairs; empty likewise"
    )
    equivariance_errors: dict[str, float] = Field(
        description="||f(g x) - g f(x)|| / ||f(x)|| of the fitted network f, for each element g"
    )
    error_inside: float = Field(description="largest equivariance error of the kept elements", examples=[4e-16])
    error_outside: float | None = Field(
        description="smallest equivariance error of the other elements; null if all are kept"
    )
    mse: float = Field(description="mean squared error of the fit, over all channels in the units of Y")
    mse_zero: float = Field(
        description="mean squared error of predicting zero, for scalars their mean; over all channels, as `mse`"
    )
    mse_copy: float = Field(
        description="mean squared error of copying X, as `mse`; that of `mse_zero` if Y is another kind of field"
    )
    unfitted: list[int] = Field(
        default=[],
        description="channels of Y, counted from 0, in which the fit is hardly better than predicting zero or copying "
        "X: elements that count as kept may be broken",
    )
    unlike: list[int] = Field(
        default=[],
        description="channels of Y whose rms is so far from that of X, which is subtracted, that units may differ",
    )
    verdict: str = Field(
        description="the result in words", examples=["m: 2 of the 8 elements of D4 are kept to rounding."]
    )
