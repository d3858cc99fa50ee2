"""Operators that interpolate a map at positions that the graph computes; its channels stay on axis 1."""

from bnfold.folding import labels
from bnfold.folding.gauges import Ids
from bnfold.folding.site import Site


def roi_align(site: Site) -> None:
    """RoiAlign: s_y = s_x, s > 0 where it takes maxima; σ = 0, since what lies outside of the map counts as 0."""
    label = _channels(site)
    if site.string("mode", "avg") == "max":
        site.positive(label)
    site.unshifted(label)
    site.emit(label)


def grid_sample(site: Site) -> None:
    """GridSample: s_y = s_x, σ_y = σ_x; σ = 0 where positions outside of the map count as 0."""
    label = _channels(site)
    if site.string("padding_mode", "zeros") == "zeros":
        site.unshifted(label)
    site.emit(label)


def _channels(site: Site) -> Ids:
    """Return the label made uniform along all axes but the channels': regions and positions are for the data to say."""
    label = site.label(0)
    return site.uniform(label, [axis for axis in labels.varying(label) if axis != 1])
