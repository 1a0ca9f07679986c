"""Writes tests/oracles/golden/parquet_*.parquet with pyarrow (26.0.1), and what is in them as parquet.json.

Run: python tests/oracles/parquet.py    (a venv with pyarrow)
"""
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

golden = pathlib.Path(__file__).parent / "golden"
words = "a post about nothing in particular, told at some length and then again".split()


def text(i, n):
    return " ".join(words[(i * 7 + j * 3) % len(words)] for j in range(n)) + " é🦙"[: i % 4]


rows = [
    {
        "id": f"t3_{i}",
        "subreddit": ["jobs", "relationships", "pets"][i // 20],
        "title": None if i % 11 == 5 else text(i, 4),
        "choice": i % 2,
        "seen": i < 40,
        "extra": None if i % 7 == 3 else {"confidence": None if i % 5 == 0 else i % 9 + 1},
        "summaries": [{"text": text(i, 6), "policy": None if i % 3 else "ref"}, {"text": text(i + 1, 5), "policy": "ppo"}][
            : 2 if i % 13 else 0
        ],
    }
    for i in range(60)
]
table = pa.Table.from_pylist(rows)
settings = {
    "v1_snappy": dict(compression="snappy", data_page_version="1.0"),
    "v1_plain": dict(compression="none", data_page_version="1.0", use_dictionary=False),
    "v2_zstd": dict(compression="zstd", data_page_version="2.0"),
    "v2_delta": dict(
        compression="none",
        data_page_version="2.0",
        use_dictionary=False,
        column_encoding={"id": "DELTA_BYTE_ARRAY", "title": "DELTA_LENGTH_BYTE_ARRAY", "choice": "DELTA_BINARY_PACKED"},
    ),
}
for name, options in settings.items():
    pq.write_table(
        table, golden / f"parquet_{name}.parquet", row_group_size=25, data_page_size=600, write_batch_size=8, **options
    )
(golden / "parquet.json").write_text(json.dumps(rows, ensure_ascii=False) + "\n")
