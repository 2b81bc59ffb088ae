"""A board's row as the model-index block that Hugging Face reads from the head of a model's README."""

from ccbench.boards.board_files import Board
from ccbench.boards.score_table import ScoreLine, board_rows, by_place, score_table
from ccbench.errors import UsageError
from ccbench.metrics import metric_info
from ccbench.protocols.protocol import find_protocol


def render_model_index(board: Board, row: str) -> str:
    """Return the YAML of one method's means over the seeds, unrounded, between its `---` lines.

    Raises:
        UsageError: the board has no such method.
    """
    from huggingface_hub import EvalResult, ModelCardData

    methods = [one for one in board_rows(board) if not one.control]
    chosen = next((one for one in methods if one.name == row), None)
    if chosen is None:
        raise UsageError(f"--row: found {row!r}, wanted one of {', '.join(one.name for one in methods) or 'none yet'}")
    protocol = find_protocol(board.rules.protocol)
    signatures = {score.metric: score.signature for filed in chosen.runs for score in filed.scorecard.scores}
    seeds = " ".join(map(str, chosen.seeds))
    results = [
        EvalResult(
            task_type="image-to-image",
            task_name="colonoscopy image from polyp mask and clinical text",
            dataset_type=f"ccbench/{protocol.name}",
            dataset_name=f"{protocol.name}: {protocol.title}",
            dataset_split="test",
            dataset_revision=board.rules.protocol_hash,
            metric_type=metric,
            metric_name=metric_info(metric).title,
            metric_value=line.mean,
            metric_args={"signature": signatures[metric], "n": line.n, "seeds": seeds, **_spread(line)},
        )
        for (name, metric), line in by_place(score_table(board)).items()
        if name == row and line.mean is not None
    ]
    card = ModelCardData(model_name=row, eval_results=results, tags=["ccbench", "colonoscopy"])
    return f"---\n{card.to_yaml()}\n---\n"


def _spread(line: ScoreLine) -> dict[str, float]:
    return {} if line.spread is None else {"spread_over_seeds": line.spread}
