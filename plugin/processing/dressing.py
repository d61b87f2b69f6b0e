"""Style, date and history for a result that QGIS loads by itself after an algorithm."""

from __future__ import annotations

from typing import Any, ClassVar

from qgis.core import (
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingLayerPostProcessorInterface,
    QgsProject,
    QgsRasterLayer,
)

from ...models.errors import FusionError
from ..job import Job
from ..layers.publish import dress, dress_error, error_name, result_name


class Dresser(QgsProcessingLayerPostProcessorInterface):
    """Dresses the result of one run, or its standard error, once QGIS has loaded it.

    QGIS keeps only a pointer to it, so Python must keep it alive until then.
    """

    _waiting: ClassVar[dict[str, Dresser]] = {}

    def __init__(
        self, job: Job, fine: QgsRasterLayer | None, default_name: str, is_error: bool = False
    ) -> None:
        super().__init__()
        self._default_name = default_name
        self._is_error = is_error
        self._job = job
        self._report: dict[str, Any] = {}
        # The layer may be gone when the result is loaded: keep what it is called, not the layer.
        self._fine_id = fine.id() if fine is not None else ""
        name = result_name(job, fine)
        self._name = error_name(name) if is_error else name

    def wait_for(
        self, path: str, job: Job, report: dict[str, Any], context: QgsProcessingContext
    ) -> None:
        """Have QGIS call this when it loads a file, if it is going to."""
        self._job, self._report = job, report
        if not context.willLoadLayerOnCompletion(path):
            return
        self._waiting[path] = self
        details = context.layerToLoadOnCompletionDetails(path)
        if details.name == self._default_name:  # else a user or a model has named it
            details.name = self._name
        details.setPostProcessor(self)

    @classmethod
    def waiting(cls) -> list[str]:
        """The files that have not been loaded yet."""
        return list(cls._waiting)

    def postProcessLayer(
        self,
        layer: QgsMapLayer,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        for path in [key for key, item in self._waiting.items() if item is self]:
            del self._waiting[path]
        if not isinstance(layer, QgsRasterLayer):
            return
        project = context.project() or QgsProject.instance()
        fine = project.mapLayer(self._fine_id) if self._fine_id else None
        try:
            if self._is_error:
                dress_error(layer, self._job, self._report)
            else:
                dress(layer, self._job, self._report, fine, project)
        except FusionError as error:
            feedback.pushWarning(error.sentence)
