"""Write the measured numbers of docs/scale.md from the files in docs/results/.

    python tools/upkeep/scale_page.py

Each block of numbers lies between two marks. A block that has not been measured yet names the command that measures
it. A test checks that the page is up to date.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from facerec._files import ROOT
from facerec.database.sqlite import INDEX_FROM
from facerec.evaluation import percent

PAGE = ROOT / "docs" / "scale.md"
RESULTS = ROOT / "docs" / "results"

#: The number of people for which the page estimates the enrolment.
MANY = 100_000_000

#: An index is good enough if it finds the true nearest of this share of known people, and of strangers.
ENOUGH = {"known": 0.999, "strangers": 0.99}


# ------------------------------------------------------------------------------------------ Markdown in general
def fill(text: str, blocks: Mapping[str, str]) -> str:
    r"""Put new text between the marks of a page.

    Args:
        text: The page.
        blocks: Mark → the text that belongs between ``<!-- mark -->`` and ``<!-- /mark -->``.

    Returns:
        The page with these blocks.

    Raises:
        ValueError: If the page does not have a mark exactly once.

    Example:
        >>> fill("before <!-- x -->old<!-- /x --> after", {"x": "new"})
        'before <!-- x -->\nnew\n<!-- /x --> after'
    """
    for mark, block in blocks.items():
        start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"the page must have {start} and {end} exactly once")
        before, rest = text.split(start)
        _, after = rest.split(end)
        text = f"{before}{start}\n{block}\n{end}{after}"
    return text


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Args:
        head: The first line, with its bars.
        rows: The cells of each row.
    """
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *(f"| {' | '.join(cells)} |" for cells in rows)])


def megabytes(memory: dict | None) -> str:
    """The peak memory of a process, if the system reports it."""
    return f"{memory['most']:,.0f} MB" if memory else "unknown"


# -------------------------------------------------------------------------------------------------- the blocks
def database_tables(result: dict) -> str:
    """How searches do at each size, what they take, and on which machine."""
    return "\n\n".join([search_table(result), room_table(result), machine(result)])


def search_table(result: dict) -> str:
    """The speed and the accuracy of a search, a row per size."""
    head = (
        "| people | p50 | p99 | true nearest: known people | … strangers | rank 1 "
        "| ours against plain NumPy | against the course's loop |"
    )
    rows = []
    for row in result["sizes"]:
        took, right, others = row["nearest"], row["true_nearest"], row["others"]
        numpy, loop = others["plain NumPy"], others["the course's loop over a dict"]["times_ours"]
        cells = (
            f"{row['people']:,}",
            f"{took['p50_ms']:.2g} ms",
            f"{took['p99_ms']:.2g} ms",
            percent(right["known"], 2),
            percent(right["strangers"], 2),
            f"{100 * row['named_rightly']:.0f} %",
            f"{numpy['ours_p50_ms']:.2g} and {numpy['p50_ms']:.2g} ms: {1 / numpy['times_ours']:.2g} times as long",
            f"{loop:,.0f} times as fast",
        )
        rows.append(cells)
    return table(head, rows)


def room_table(result: dict) -> str:
    """The time and space to open, keep, fill and add, a row per size."""
    head = (
        "| people | cold open | … with the start of Python | memory to search | memory to fill | disk | fill | index "
        "| add: p50, p99 | a bare write |"
    )
    rows = []
    for row in result["sizes"]:
        to_fill, add = row["fill"], row["add"]
        cells = (
            f"{row['people']:,}",
            f"{row['cold_open_s']:.2g} s",
            f"{row['from_start_s']:.2g} s",
            megabytes(row["memory_mb"]),
            megabytes(to_fill["memory_mb"]),
            f"{row['disk_mb']:,.0f} MB",
            f"{to_fill['fill_s']:.2g} s",
            f"{to_fill['build_index_s']:.2g} s" if row["people"] >= INDEX_FROM else "none",
            f"{add['p50_ms']:.2g} ms, {add['p99_ms']:.2g} ms",
            f"{add['bare_write']['p50_ms']:.2g} ms",
        )
        rows.append(cells)
    return table(head, rows)


def machine(result: dict, who: str = "Other processes") -> str:
    """The machine of the measurement, as a sentence, and how busy ``who`` kept it."""
    about = result["machine"]
    limits = [f"{name}={value}" for name, value in about["threads"].items() if value != "not set"]
    threads = f"threads limited by {', '.join(limits)}" if limits else "threads not limited"
    memory = f", {about['memory_gb']:.0f} GB" if about["memory_gb"] else ""
    busy = [row["others_cores"] for row in result["sizes"] if "others_cores" in row]
    others = f" {who} used at most {max(busy):.1f} of its cores meanwhile." if busy else ""
    return (
        f"{about['processor']}, {about['cores']} cores{memory}, {about['system']}; Python {about['python']}, NumPy "
        f"{about['numpy']}, faiss {about['faiss']}, SQLite {about['sqlite']}; {threads}.{others}"
    )


def server_tables(result: dict) -> str:
    """How a Milvus server does at each size, what it loses when it is killed, and where that was measured."""
    versions = f"{result['server']}, pymilvus {result['pymilvus']}; {machine(result, 'The server and other processes')}"
    parts = [server_search_table(result), server_room_table(result), killed(result["kills"]), versions]
    return "\n\n".join(part for part in parts if part)


def server_search_table(result: dict) -> str:
    """The speed and the accuracy of a search on a server, a row per size and per state of its rows."""
    head = "| people | | one probe: p50, p99 | each of 20 at once | true nearest: known people | … strangers | rank 1 |"
    rows = []
    for row in result["sizes"]:
        for key, label in (("as_written", "just written"), ("settled", "after `settle()`")):
            if key not in row:
                continue
            found = row[key]
            cells = (
                f"{row['people']:,}",
                label,
                f"{_ms(found['one']['p50_ms'])}, {_ms(found['one']['p99_ms'])}",
                f"{_ms(found['of_a_batch']['p50_ms'])}",
                percent(found["true_nearest"]["known"], 2),
                percent(found["true_nearest"]["strangers"], 2),
                f"{100 * found['named_rightly']:.0f} %",
            )
            rows.append(cells)
    return table(head, rows)


def server_room_table(result: dict) -> str:
    """The time of everything else, and the server's room, a row per size."""
    head = (
        "| people | fill | `settle()` | add: p50, p99 | `in` | `len` | all names | `find` | the server's memory "
        "| … and disk |"
    )
    rows = []
    for row in result["sizes"]:
        cells = (
            f"{row['people']:,}",
            f"{row['fill_s']:,.0f} s",
            f"{row['settle_s']:,.0f} s" if "settle_s" in row else "not measured",
            f"{_ms(row['add']['p50_ms'])}, {_ms(row['add']['p99_ms'])}",
            f"{_ms(row['contains']['p50_ms'])}",
            f"{_ms(row['len']['p50_ms'])}",
            _seconds(row["names_s"]),
            _seconds(row["find_s"]),
            megabytes(row["server_memory_mb"]),
            f"{row['server_disk_mb']:,.0f} MB",
        )
        rows.append(cells)
    return table(head, rows)


def _ms(value: float) -> str:
    """Milliseconds with two digits, or all digits before the point."""
    return f"{_short(value)} ms"


def _seconds(value: float) -> str:
    """Seconds with two digits, or all digits before the point."""
    return f"{_short(value)} s"


def _short(value: float) -> str:
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"


def killed(kills: list[dict]) -> str:
    """What became of what was acknowledged when the server was killed, a sentence or two for each row."""
    return "\n\n".join(map(_killed, kills))


def _killed(row: dict) -> str:
    again = row["client_writes_again_s"]
    slowly = f", with at least {row['apart_s']:.0f} s between a start and the next kill," if row["apart_s"] else ""
    return (
        f"The server was killed (`kill -9`) {row['kills']} times{slowly} while a client added people. Of "
        f"{row['acknowledged']:,} that were acknowledged, {row['lost']} were lost, and {row['twice']} are there "
        f"twice. The client, which went on running, had written two more people {again['median']:.0f} s after the kill "
        f"in the median and {again['most']:.0f} s at most; the start of the server took "
        f"{row['server_started_s']['median']:.0f} s of these."
    )


def good_enough(index: dict) -> dict:
    """The smallest depth at which an index finds enough of the true nearest, or else its largest depth."""
    for depth in index["depths"]:
        if all(depth["true_nearest"][who]["value"] >= least for who, least in ENOUGH.items()):
            return depth
    return index["depths"][-1]


def index_table(result: dict) -> str:
    """The shipped index beside other indexes, a row for each at each size."""
    head = "| people | index | built in | size | candidates | true nearest: known people | … strangers | p50 | p99 |"
    rows = []
    for size in result["sizes"]:
        for label, index in size["indexes"].items():
            depth = good_enough(index)
            cells = (
                f"{size['people']:,}",
                label,
                f"{index['build_s']:.2g} s" if index["build_s"] < 100 else f"{index['build_s']:.0f} s",
                f"{index['size_mb']:,.0f} MB",
                f"{depth['depth']:,}",
                percent(depth["true_nearest"]["known"], 2),
                percent(depth["true_nearest"]["strangers"], 2),
                f"{depth['p50_ms']:.2g} ms",
                f"{depth['p99_ms']:.2g} ms",
            )
            rows.append(cells)
    return "\n\n".join([table(head, rows), *map(codes_beside_graphs, result["sizes"])])


def codes_beside_graphs(size: dict) -> str:
    """The cost of the codes and of the graphs, as a sentence."""
    codes, *graphs = size["indexes"].values()
    built, large = ([row[key] for row in graphs] for key in ("build_s", "size_mb"))
    ours, *took = (good_enough(row)["p50_ms"] for row in (codes, *graphs))
    return (
        f"Among {size['people']:,} people the codes are built in {codes['build_s']:.2g} s and take "
        f"{codes['size_mb']:,.0f} MB, the graphs {min(built):.0f} to {max(built):.0f} s and {min(large):,.0f} to "
        f"{max(large):,.0f} MB; the codes answer in {ours:.1f} ms, the graphs in {min(took):.1f} to {max(took):.1f} ms."
    )


def strangers_table(result: dict) -> str:
    """How recognition suffers as the database grows, a row per size."""
    head = (
        "| people in the database | strangers who get a name at 0.7 | threshold at which 1 % of them do | known people "
        "named correctly at that threshold |"
    )
    rows = []
    for row in result["open_set"]:
        named, low, high = (100 * row[key] for key in ("named_at_fpir_0.01", "low", "high"))
        cells = (
            f"{row['gallery']:,}",
            f"{100 * row['strangers_named_at_0.7']:.1f} %",
            f"{row['threshold']:.2f}",
            f"{named:.1f} % [{low:.1f}, {high:.1f}]",
        )
        rows.append(cells)
    return table(head, rows)


def enrolment(result: dict) -> str:
    """How long it takes to encode a hundred million photos once, as a sentence."""
    seconds = result["photo_to_name"]["weights/resnet"]["1_faces"]["whole_ms"] / 1000
    days, faces = seconds * MANY / 86_400, result["encoding"]["weights/resnet"]["batch_64"]["faces_per_second"]
    return (
        f"A photo takes {1000 * seconds:.0f} ms on two cores, so a hundred million photos take {days:,.0f} days there. "
        f"Faces that are already aligned are encoded at {faces:.0f} per second: {MANY / faces / 86_400:.1f} days. "
        "A new network means doing all of it again."
    )


#: Mark → the file, the function that writes it, and the command that measures it.
BLOCKS: dict[str, tuple[str, Callable[[Any], str], str]] = {
    "database": ("database.json", database_tables, "make bench-database"),
    "server": ("scale.json", server_tables, "make bench-scale"),
    "index": ("index.json", index_table, "make bench-database"),
    "strangers": ("evaluation_resnet.json", strangers_table, "make evaluate DIR=…"),
    "enrolment": ("bench.json", enrolment, "make bench"),
}


def filled(text: str, results: Path = RESULTS) -> str:
    """Put today's numbers into the page.

    Args:
        text: The page as it was.
        results: The folder of the measured files.

    Returns:
        The page with today's numbers between its marks.
    """
    blocks = {}
    for mark, (name, write, command) in BLOCKS.items():
        file = results / name
        if file.is_file():
            blocks[mark] = write(json.loads(file.read_text(encoding="utf-8")))
        else:
            blocks[mark] = f"(Not measured yet: `{command}`.)"
    return fill(text, blocks)


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
