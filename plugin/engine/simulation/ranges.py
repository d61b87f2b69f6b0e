"""From which ranges the properties of a training scene are drawn.

Where no other source is named, ranges are those of the study in which a network trained on
simulated scenes alone was tested on real ones (pool v2). Wider ones are wider on purpose: which
coarse images a user has is not known, and a network must also see those not to trust.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """Ranges (low, high) and shares; ``log``: drawn evenly in the logarithm.

    Amplitudes are in standard deviations of the fine reference, lengths of the coarse images in
    cells, noise of the coarse images in standard deviations of their cells.

    Attributes:
        ratio: Coarse over fine pixel size, log; one in three is a whole number.
        bands: Number of bands, both ends included.
        textured: Share of the scenes on a real fine image, if there is one.
        dated: Share of the scenes with textures of several dates that use their change.
        second: Share of the scenes with a second reference pair.
        seasonal: Share of the scenes that change by a calendar of greening and harvest; others by
            classes without one.
        parcel: Area of the parcels in pixels, log.
        block: Area of the blocks of parcels of one mix of classes, in pixels, log.
        texture: Strength of the texture of simulated ground, log. The study had up to 0.35.
        change: Amplitude of the change without seasons, log.
        abrupt: Share of the scenes with abrupt change: flood, harvest, or anything else.
        texture_kept: Correlation of the finest texture between the dates.
        fine_shift: Shift between the fine images in pixels, in ``fine_shifted`` of the scenes.
        fine_shifted: See ``fine_shift``.
        fine_noise: Noise of the fine references, log.
        psf: Deviation of the Gaussian by which a cell sees more than its own square.
        view: Factor by which a date's view angle widens the cells across the track, log, in
            ``oblique`` of the dates. MODIS cells widen several times towards the swath's edge, of
            which composites keep the least (Wolfe et al. 1998, doi:10.1109/36.701082).
        oblique: See ``view``.
        offset_grid: Share of the scenes whose cells do not begin at the fine image's corner.
        turned: Share of the scenes whose coarse grid is not parallel to the fine one.
        common_shift: Deviation of the shift common to the coarse images.
        date_shift: Deviation of the shift of every coarse image.
        gain: Of the coarse sensor, per band.
        offset: Deviation of the coarse sensor's offset, per band.
        bend: Curvature of the relation of coarse to fine values, 0 is straight: values far above
            the mean saturate.
        date_bias: Deviation of a date's gain and offset (view angle, atmosphere), log. The study
            had 0.06 and found 0.16 on BOREAS.
        haze: Strength of smooth haze over an image, log.
        hazy: Share of the images, fine references and coarse ones, under haze.
        date_noise: Noise of the cells of every date, log: from clean to cells that tell nothing.
            The study had 0.03 to 0.5.
        common_noise: Noise of the cells that is the same at all dates, log.
        misled: Share of the scenes whose coarse target shows some other change than the true one.
        clouded: Share of the images with clouds, for each role; a cloud has a shadow.
        cloud: Share of an image that clouds hide, log.
        same_clouds: Share of the dates whose fine and coarse image have the same clouds, or none.
        unmasked: Share of the clouded coarse references whose mask misses clouds, some or all. That
            of a target does not: nothing tells clouds there from change.
        striped: Share of the scenes whose fine references have gaps in stripes.
        saturated: Share of the scenes in which bright pixels of all images are cut off.
    """

    ratio: Range = (4, 40)
    bands: tuple[int, int] = (1, 7)
    textured: float = 0.5
    dated: float = 0.2
    second: float = 0.3
    seasonal: float = 0.4
    parcel: Range = (40, 1500)
    block: Range = (2500, 20000)
    texture: Range = (0.03, 0.6)
    change: Range = (0.12, 2.0)
    abrupt: float = 0.4
    texture_kept: Range = (0.5, 1.0)
    fine_shift: Range = (0, 0.6)
    fine_shifted: float = 0.6
    fine_noise: Range = (0.01, 0.1)
    psf: Range = (0.1, 0.55)
    view: Range = (1.0, 2.5)
    oblique: float = 0.3
    offset_grid: float = 0.95
    turned: float = 0.4
    common_shift: Range = (0, 0.3)
    date_shift: Range = (0, 0.18)
    gain: Range = (0.85, 1.15)
    offset: float = 0.3
    bend: Range = (0, 0.25)
    date_bias: Range = (0.02, 0.4)
    haze: Range = (0.02, 0.5)
    hazy: float = 0.2
    date_noise: Range = (0.01, 1.5)
    common_noise: Range = (0.03, 0.8)
    misled: float = 0.08
    clouded: float = 0.25
    cloud: Range = (0.005, 0.5)
    same_clouds: float = 0.5
    unmasked: float = 0.3
    striped: float = 0.05
    saturated: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = value if isinstance(value, tuple) else (value, value)
            if not 0 <= low <= high:
                raise ValueError(f"{field.name} is {value}. Give two rising numbers from 0.")
            if not isinstance(value, tuple) and value > 1:
                raise ValueError(f"{field.name} is {value}. Give a number from 0 to 1.")
        if self.ratio[0] < 1.5:
            raise ValueError(f"ratio begins at {self.ratio[0]:g}. Give 1.5 or more.")
        if self.bands[0] < 1:
            raise ValueError(f"bands begins at {self.bands[0]}. Give 1 or more.")
