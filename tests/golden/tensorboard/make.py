#!/usr/bin/env python3
"""Writes events.tfevents beside this file with TensorBoard's own writer, for src/tune/tensorboard.rs. Needs tensorboard (2.21).

Three epochs, the accuracy on test images with the last one: one event for each epoch, as heirloom writes them. Then `crc` prints CRC-32C of some bytes.
"""
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c, masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

START = 1_700_000_000.5
EPOCHS = [(2.25, 0.125, 0.05), (1.0, 0.5, 0.1), (0.0, 1.0, 0.0)]

with (Path(__file__).parent / "events.tfevents").open("wb") as file:
    writer = RecordWriter(file)
    writer.write(Event(wall_time=START, file_version="brain.Event:2").SerializeToString())
    for epoch, (loss, accuracy, rate) in enumerate(EPOCHS, 1):
        values = [("loss/train", loss), ("accuracy/train", accuracy), ("learning_rate", rate)]
        if epoch == len(EPOCHS):
            values.append(("accuracy/test", 0.75))
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
        writer.write(Event(wall_time=START + 2 * epoch, step=epoch, summary=summary).SerializeToString())
    writer.close()

for data in [b"", b"123456789", bytes(32), bytes(range(32))]:
    print("crc", data.hex() or "-", hex(crc32c(data)), hex(masked_crc32c(data)))
