"""Event-range records as Arrow tables and Parquet files, block by block: a table of ten million ranges need not fit twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from raythena.domain.errors import InvalidInput
from raythena.domain.ranges import Indices
from raythena.storage.atomic import disk_errors
from raythena.storage.range_records import COLUMNS, RangeRecords

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES = {
    "first_event": "int64",
    "last_event": "int64",
    "session": "int32",
    "attempt": "int32",
    "started_at": "float64",
    "wall_s": "float32",
    "cpu_s": "float32",
    "size_bytes": "int64",
}
"""Of columns that are no text."""


def arrow_table(records: RangeRecords, indices: Indices) -> pa.Table:
    """The records of these ranges. Raises InvalidInput where pyarrow is not installed."""
    pyarrow = pyarrow_module()
    return pyarrow.Table.from_batches(_batches(records, indices), schema=_schema())


def write_parquet(path: Path, records: RangeRecords, indices: Indices) -> None:
    """Write the records of these ranges to a Parquet file. Raises InvalidInput where pyarrow is not installed, StorageError."""
    pyarrow_module()
    from pyarrow import parquet

    with disk_errors("write", path), parquet.ParquetWriter(path, _schema()) as writer:
        for batch in _batches(records, indices):
            writer.write_batch(batch)


def parquet_bytes(records: RangeRecords, indices: Indices) -> bytes:
    """The records of these ranges as a Parquet file in memory, made small: ids share their beginnings, texts are told once.

    Compressed as every reader knows it. Raises InvalidInput where pyarrow is not installed.
    """
    pyarrow, schema = pyarrow_module(), _schema()
    from pyarrow import parquet

    texts = [name for name in COLUMNS if name not in _TYPES and name != "range_id"]
    encoded = {"range_id": "DELTA_BYTE_ARRAY"} | dict.fromkeys(("first_event", "last_event"), "DELTA_BINARY_PACKED")
    sink = pyarrow.BufferOutputStream()
    with parquet.ParquetWriter(sink, schema, compression="snappy", use_dictionary=texts, column_encoding=encoded) as writer:
        for batch in _batches(records, indices):
            writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _batches(records: RangeRecords, indices: Indices) -> Iterator[pa.RecordBatch]:
    pyarrow, schema = pyarrow_module(), _schema()
    for block in records.blocks(indices):
        yield pyarrow.RecordBatch.from_pydict(block, schema=schema)


def _schema() -> pa.Schema:
    pyarrow = pyarrow_module()
    return pyarrow.schema([(name, getattr(pyarrow, _TYPES.get(name, "string"))()) for name in COLUMNS])


def pyarrow_module() -> pa:
    """Arrow, which not everybody has. Raises InvalidInput that says how to get it."""
    try:
        import pyarrow
    except ImportError:
        hint = 'pip install "raythena[tables]"'
        raise InvalidInput("pyarrow", "", "is not installed", expected="pyarrow, for Arrow and Parquet", hint=hint) from None
    return pyarrow
