"""The study of a search: made once, joined by every worker."""

import dataclasses
from pathlib import Path

import optuna

from ..errors import CheckpointError, ConfigError
from .sampling import Placed, make_pruner
from .settings import Settings
from .storage import TURN, one_at_a_time, open_database, open_journal, quiet

JOURNAL = "journal.log"
_SETTINGS = "settings"


def open_study(
    out: Path, settings: Settings | None = None, storage: str | None = None, name: str | None = None
) -> tuple[optuna.Study, Settings]:
    """(the study in the folder `out`, or in the database `storage`; its settings).

    settings: of a new search, or of one that goes on; the latter must agree with those in the
    study. None joins a search that exists. name: of the study in a database, by default that of the
    folder.
    Raises: ConfigError for other settings than before; CheckpointError where there is no search,
    or its storage is damaged.
    """
    quiet()
    if settings is None and storage is None and not (out / JOURNAL).exists():
        raise CheckpointError(
            f"search: there is no search in {str(out)!r} ({JOURNAL} is missing); give the folder "
            "of one, or --data for a new one"
        )
    if settings is not None:
        settings.check()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(out / TURN):
            return _open(out, settings, storage, name or out.resolve().name)
    except OSError as error:
        raise CheckpointError(
            f"search: cannot write to {str(out)!r}: {error.strerror or error}; choose another "
            "folder"
        ) from None


def find_study(out: Path, storage: str | None, name: str | None) -> Settings | None:
    """The settings of the study in this place; None where there is no study yet."""
    quiet()
    kept = open_journal(out / JOURNAL) if storage is None else open_database(storage)
    names = [summary.study_name for summary in optuna.get_all_study_summaries(kept)]
    if not names or (storage is not None and (name or out.resolve().name) not in names):
        return None
    return open_study(out, None, storage, name)[1]


def _open(
    out: Path, settings: Settings | None, storage: str | None, name: str
) -> tuple[optuna.Study, Settings]:
    kept = open_journal(out / JOURNAL) if storage is None else open_database(storage)
    place = str(out / JOURNAL) if storage is None else f"the study {name!r} of the database"
    names = [summary.study_name for summary in optuna.get_all_study_summaries(kept)]
    if storage is None and names:
        name = names[0]
    if name not in names and settings is None:
        raise CheckpointError(f"search: {place} holds no search; give --data to begin one")
    if name in names:
        study = optuna.load_study(study_name=name, storage=kept)
    else:  # another machine may make it at the same time, in a database
        study = optuna.create_study(
            storage=kept, study_name=name, direction="maximize", load_if_exists=True
        )
    settings = _agreed(study, settings, place)
    study.sampler = Placed(settings.sampler, settings.base.seed)
    study.pruner = make_pruner(settings.pruner, settings.base.epochs)
    return study, settings


def _agreed(study: optuna.Study, settings: Settings | None, place: str) -> Settings:
    """The settings in the study, after a check that `settings` agree; the first process to come
    writes them into it.
    """
    plain = study.user_attrs.get(_SETTINGS)
    if plain is None:
        if settings is None or len(study.get_trials(deepcopy=False)):
            raise CheckpointError(
                f"search: {place} holds a study of another program; choose another folder"
            )
        study.set_user_attr(_SETTINGS, settings.to_dict())
        return settings
    try:
        before = Settings.from_dict(plain)
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"search: {place} is damaged: its settings cannot be read ({error}); bring back a copy "
            "of it, or start a new search in another folder"
        ) from None
    if settings is None:
        return before
    if differ := before.differences(settings):
        raise ConfigError(
            f"search: the search in {place} was started with other options:\n"
            + "\n".join(differ)
            + "\nleave them out to go on with it, or choose another folder"
        )
    if settings.to_dict() != plain:
        study.set_user_attr(_SETTINGS, settings.to_dict())
    return dataclasses.replace(before, trials=settings.trials, best_seeds=settings.best_seeds)
