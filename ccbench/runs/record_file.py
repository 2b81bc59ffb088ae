"""A run's record as it lies in its folder: made, read, waited for, and told from another."""

import time
from pathlib import Path

from pydantic import ValidationError

from ccbench.base.environment import now
from ccbench.base.files import read_json
from ccbench.base.model_errors import first_problem
from ccbench.base.process_ranks import process_rank
from ccbench.errors import DataError, UsageError
from ccbench.protocols.config import RunConfig
from ccbench.protocols.given_settings import flatten
from ccbench.runs.inside import inside
from ccbench.runs.record import RunRecord, make_run_id

RECORD = "run.json"
"""Its name in the run folder."""

_PATIENCE = 300  # seconds that a process waits for the first one, which checks the data before it makes the folder


def new_record(config: RunConfig) -> RunRecord:
    """Return the record of a run that has not begun.

    Raises:
        UsageError: the configuration holds what no record can.
    """
    try:
        return RunRecord(
            run_id=make_run_id(config.method, config.seed, config.config_hash),
            started=now(),
            protocol=config.protocol.name,
            protocol_hash=config.protocol.hash,
            config=config.model_dump(mode="json"),
            config_hash=config.config_hash,
            not_comparable=config.not_comparable,
            seed=config.seed,
        )
    except ValidationError as error:  # such as a seed or a rate beyond what a record holds
        raise UsageError(f"configuration: {first_problem(error)}; give another value") from error


def read_record(path: Path) -> RunRecord:
    """Return the record in a run folder.

    Raises:
        DataError: it cannot be read.
    """
    file = inside(path, RECORD)
    try:
        return RunRecord.model_validate(read_json(file))
    except ValidationError as error:
        raise DataError(f"{file}: {first_problem(error)}; restore the file, or start a new run elsewhere") from error


def await_record(path: Path, config: RunConfig | None) -> RunRecord:
    """Return the first process's record as soon as it is that of `config`; what is wrong with the folder is said there.

    Raises:
        UsageError: there is none for a long time.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if (path / RECORD).is_file():
            record = read_record(path)
            if config is None or record.config_hash == config.config_hash:
                return record
        time.sleep(0.1)
    raise UsageError(f"--output {path}: process {process_rank()} found no such run of process 0 in {_PATIENCE} s")


def difference(record: RunRecord, config: RunConfig) -> str:
    """Say which settings differ, for the message that refuses a folder."""
    held = {"revision": 1, **dict(flatten(record.config))}
    wanted = dict(flatten({**config.model_dump(mode="json", exclude={"overrides"}), **config.image_parts()}))
    older = [key for key in wanted if key.startswith("protocol.") and key not in held]  # its protocol lacks them
    wanted = {key: value for key, value in wanted.items() if key not in older}
    changed = [f"{key} {held.get(key)!r}, not {value!r}" for key, value in wanted.items() if held.get(key) != value]
    return f"run {record.run_id} of another configuration ({'; '.join(changed[:3]) or 'made by another version'})"
