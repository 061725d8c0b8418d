"""Runs the bench and writes its figures: `make bench`.

Ratios are of medians over rounds in which the service and its reference take turns, so a machine
that is slow for a while is slow for both. The figures go to `.local/bench.json` (`BENCH_JSON`).
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import servers
from tests.bench.servers import ROOT, Server

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
PLAIN_SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
CONNECTIONS = 32
STREAMS = 100
IDLE_STREAMS = 200
PATH = "/v1/chat/completions"

CATALOGUE = """
[service]
name = "Bench"
key_prefix = "sk-bench-"

[[upstreams]]
name = "bench"
base_url = "http://127.0.0.1:{port}/v1"
max_concurrency = 100000

[[models]]
name = "bench"
context_tokens = 128000
max_output_tokens = 8192
prices = {{ input = "0.70", output = "2.50" }}
[[models.routes]]
upstream = "bench"
upstream_model = "bench"
"""

CUSTOMERS = """
import json
from accounts.models import Plan
from api.account_opening import open_customer
Plan.objects.update(
    requests_per_minute=2**31 - 1, tokens_per_minute=2**60, concurrent_requests=2**31 - 1
)
print(json.dumps([
    open_customer(f"bench-{number}@example.com", credit_nanos=10**15).plaintext
    for number in range(16)
]))
"""

Figures = dict[str, Any]


def manage(*arguments: str) -> str:
    """Run a management command and return what it prints."""
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def prepare(upstream_port: int) -> list[str]:
    """Fill the database and return keys of as many teams, without limits to run into."""
    manage("migrate")
    os.environ["UPSTREAM_HOSTS"] = "127.0.0.1"  # for the service's processes, too
    file = Path(os.environ["LOCAL_DIR"]) / "bench.toml"
    file.write_text(CATALOGUE.format(port=upstream_port))
    manage("load_catalogue", str(file))
    return json.loads(manage("shell", "-v", "0", "-c", CUSTOMERS).splitlines()[-1])


def load(kind: str, server: Server, key: str, amount: int, seconds: float = 0) -> Figures:
    """Run one load in a process of its own and return its figures."""
    command = servers.python("tests.bench.load", kind, server.port, PATH, key, amount, seconds)
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    figures: Figures = json.loads(output)
    return figures


def in_turns(*sides: Callable[[], Figures]) -> list[Figures]:
    """Return each side's medians over the rounds, in which they take turns."""
    rounds: list[list[Figures]] = [[] for _ in sides]
    for _ in range(ROUNDS):
        for figures, side in zip(rounds, sides, strict=True):
            figures.append(side())
    return [
        {name: statistics.median(figures[name] for figures in side) for name in side[0]}
        for side in rounds
    ]


def measure_plain(service: Server, bare: Server, direct: Server, key: str) -> Figures:
    """Request per second at full load, and what a lone request waits longer."""
    ours, theirs, limit = in_turns(
        lambda: load("plain", service, key, CONNECTIONS, PLAIN_SECONDS),
        lambda: load("plain", bare, key, CONNECTIONS, PLAIN_SECONDS),
        lambda: load("plain", direct, key, CONNECTIONS, 1),
    )
    lone, lone_direct = in_turns(
        lambda: load("plain", service, key, 1, 1), lambda: load("plain", direct, key, 1, 1)
    )
    return {
        "plain_rps_ratio": ours["rps"] / theirs["rps"],
        "lone_added_ms_p50": lone["p50_ms"] - lone_direct["p50_ms"],
        "plain_rps": ours["rps"],
        "plain_rps_bare": theirs["rps"],
        "plain_rps_direct": limit["rps"],
        "plain_p50_ms": ours["p50_ms"],
        "lone_p50_ms": lone["p50_ms"],
        "lone_direct_p50_ms": lone_direct["p50_ms"],
    }


def measure_streams(service: Server, bare: Server, direct: Server, key: str) -> Figures:
    """What many streams at once lose, wait and cost."""

    def metered(server: Server) -> Figures:
        before = server.cpu_seconds()
        figures = load("streams", server, key, STREAMS)
        figures["cpu_us"] = (server.cpu_seconds() - before) / figures["events"] * 1e6
        return figures

    ours, theirs, limit = in_turns(
        lambda: metered(service), lambda: metered(bare), lambda: metered(direct)
    )
    return {
        "stream_chunk_ratio": ours["events_per_second"] / limit["events_per_second"],
        "stream_ttft_added_ms_p50": ours["ttft_p50_ms"] - limit["ttft_p50_ms"],
        "stream_cpu_per_chunk_ratio": ours["cpu_us"] / theirs["cpu_us"],
        "stream_chunks_per_second": ours["events_per_second"],
        "stream_chunks_per_second_bare": theirs["events_per_second"],
        "stream_chunks_per_second_direct": limit["events_per_second"],
        "stream_cpu_us_per_chunk": ours["cpu_us"],
        "stream_cpu_us_per_chunk_bare": theirs["cpu_us"],
        "stream_ttft_p50_ms": ours["ttft_p50_ms"],
        "stream_ttft_direct_p50_ms": limit["ttft_p50_ms"],
    }


def measure_memory(service: Server, key: str) -> Figures:
    """What a stream that waits holds of the worker's memory."""
    before = service.memory_kib()
    seconds = 4.0
    command = servers.python(
        "tests.bench.load", "idle", service.port, PATH, key, IDLE_STREAMS, seconds
    )
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as idle:
        time.sleep(seconds - 1)
        during = service.memory_kib()
        idle.communicate()
    return {"stream_memory_kib": (during - before) / IDLE_STREAMS}


def measure_ledger(keys: list[str]) -> Figures:
    """What group commit is worth, and what one hot account costs."""
    output = subprocess.run(
        servers.python("tests.bench.ledger", *keys),
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout
    rates = json.loads(output.splitlines()[-1])
    return {
        "ledger_batch_ratio": rates["batched_rps"] / rates["one_by_one_rps"],
        "ledger_hot_ratio": rates["hot_rps"] / rates["batched_rps"],
        "ledger_one_by_one_rps": rates["one_by_one_rps"],
        "ledger_batched_rps": rates["batched_rps"],
        "ledger_hot_rps": rates["hot_rps"],
    }


def measure_translation() -> Figures:
    """What reading and writing a chunk costs, and how much more where it is translated."""
    output = subprocess.run(
        servers.python("tests.bench.translation"),
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    ).stdout
    costs: Figures = json.loads(output.splitlines()[-1])
    passed = {name: costs[f"{name}_from_{name}"] for name in ("chat", "messages", "responses")}
    ratios = [
        cost / passed[name.partition("_from_")[2]]
        for name, cost in costs.items()
        if "_from_" in name
    ]
    return {
        "translated_cpu_ratio": max(ratios),
        **{f"chunk_us_{name}": cost for name, cost in costs.items()},
    }


def measure_pages() -> Figures:
    """What pages cost at a million usage rows of one team."""
    output = subprocess.run(
        servers.python("tests.bench.pages"), check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    figures: Figures = json.loads(output.splitlines()[-1])
    return figures


LIMITS: dict[str, tuple[str, float]] = {
    "plain_rps_ratio": (">=", 0.35),
    "lone_added_ms_p50": ("<=", 1.5),
    "stream_chunk_ratio": (">=", 0.97),
    "stream_ttft_added_ms_p50": ("<=", 15),
    "stream_cpu_per_chunk_ratio": ("<=", 2),
    "translated_cpu_ratio": ("<=", 2),
    "ledger_batch_ratio": (">=", 8),
    "ledger_hot_ratio": (">=", 0.9),
    "dashboard_ms_p50": ("<=", 100),
    "dashboard_live_ms_p50": ("<=", 100),
    "usage_ms_p50": ("<=", 100),
    "usage_page_100_ms_p50": ("<=", 100),
    "usage_rare_model_ms_p50": ("<=", 100),
    "usage_odd_model_ms_p50": ("<=", 100),
    "usage_failed_ms_p50": ("<=", 100),
    "usage_completed_ms_p50": ("<=", 100),
    "usage_end_user_ms_p50": ("<=", 100),
    "usage_csv_ms_p50": ("<=", 100),
}


def report(figures: Figures) -> None:
    """Print the figures, those with a limit first, and write them to the file."""
    for name, figure in sorted(figures.items(), key=lambda item: item[0] not in LIMITS):
        sign, limit = LIMITS.get(name, ("", 0.0))
        kept = figure >= limit if sign == ">=" else figure <= limit
        note = f"  {sign} {limit:g} {'kept' if kept else 'MISSED'}" if sign else ""
        print(f"{name:34}{figure:12.3f}{note}")
    path = Path(os.environ.get("BENCH_JSON", ROOT / ".local" / "bench.json"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n")


def main() -> None:
    """Measure everything and reports."""
    with servers.upstream() as direct:
        keys = prepare(direct.port)
        with servers.bare_relay(direct.port) as bare, servers.service() as service:
            load("plain", service, keys[0], CONNECTIONS, 1)
            figures = measure_plain(service, bare, direct, keys[0])
            figures |= measure_streams(service, bare, direct, keys[0])
            figures |= measure_memory(service, keys[0])
        figures |= measure_ledger(keys)
    figures |= measure_translation()
    figures |= measure_pages()
    print(manage("check_ledger"))
    report(figures)


if __name__ == "__main__":
    main()
