"""Tables of the configuration that say how series are computed, kept and delivered."""

from pydantic import Field, SecretStr

from dicom_node.config.section import Section
from dicom_node.config.value_types import UserPath


class EngineSection(Section):
    """`[engine]`: model and device."""

    model: UserPath | None = None
    """Model folder, or the name of a model that ships with the package, as `hepar model list` lists
    them; `base` when absent."""
    shadow: UserPath | None = None
    """Candidate model, named as `model` is, that computes each series once more when no job waits:
    compared with corrections, delivered to nobody; `hepar model promote` makes it the model."""
    backlog_model: UserPath | None = None
    """Faster model, named as `model` is, that segments while a backlog of series waits; none when
    absent. Urgent series, and those that a person lets be segmented again, have `model` always."""
    backlog_series: int = Field(default=20, ge=1)
    """A backlog begins once more series than this wait, and is over once half as many do."""
    threads: int | None = Field(default=None, ge=1)
    """Threads for computing on the processor; as many as it has cores when absent."""
    plans: UserPath | None = None
    """Folder of TensorRT plans; `plans` in the data folder when absent."""


class JobsSection(Section):
    """`[jobs]`: storage, retention and retries of jobs."""

    database: SecretStr | None = None
    """`postgresql://…` when several machines share it; SQLite in the data folder otherwise."""
    at_once: int | None = Field(default=None, ge=1)
    """Series worked on at the same time, beside an urgent one; each takes the memory of its volume.
    When absent, 2 where a GPU computes, so that one is read or written meanwhile; otherwise 1."""
    keep_hours: float = Field(default=24.0, ge=0)
    """Hours that received files and results of a finished series are kept."""
    keep_failed_days: float = Field(default=14.0, ge=0)
    """Days that the files of a series are kept that was refused or failed, or has no job."""
    keep_jobs_days: float = Field(default=90.0, ge=0)
    """Days that a job is listed after it has ended; its files are gone by then."""
    keep_delivered_days: float = Field(default=90.0, ge=0)
    """Days that results are kept in `delivered`, the destination where no peer is configured."""
    first_pause_s: float = Field(default=5.0, gt=0)
    """Seconds between the first failed delivery and the next attempt; each failure doubles them."""
    longest_pause_s: float = Field(default=600.0, gt=0)
    """Longest pause in seconds."""
    give_up_days: float = Field(default=7.0, gt=0)
    """Days after which a delivery fails, until someone retries it."""
