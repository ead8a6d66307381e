"""Talks to layer_driver, which runs one layer of Lamina on given numbers; its protocol is described
in layer_driver.c."""
import subprocess

import numpy as np

COUPLES_BATCH = 1 << 6  # lamina/layer.h


class Refused(Exception):
    """The layer refused its config or shapes, or failed, or the driver died."""


class Result:
    """What a run gave: tensors by (role, name), float32, and the kernel of each pass."""

    def __init__(self, rounding, kernels, tensors):
        self.rounding, self.kernels, self.tensors = rounding, kernels, tensors


class Driver:
    def __init__(self, program):
        self.program = program
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def types(self):
        return self.ask(["types"])[1:]

    def describe(self, type_name):
        """A type's flags and the names of its kernels."""
        words = self.ask([f"type {type_name}"])
        return int(words[1]), words[2:]

    def run(self, type_name, text, tensors, kernel, phase, seed=1, threads=1, shards=1):
        """tensors: {(role, name): float32 or int32 array}. None when the kernel does not apply."""
        head = f"run {type_name} {kernel} {phase} {seed} {threads} {shards} {len(tensors)}"
        message = [head, text]
        for (role, name), array in tensors.items():
            assert array.dtype in (np.float32, np.int32)
            message += [f"{role} {name} {array.nbytes}", array.tobytes()]
        try:
            words = self.ask(message)
            if words[0] == "left":
                return None
            if words[0] != "done":
                raise Refused(" ".join(words))
            count, rounding, kernels = int(words[1]), float(words[2]), words[3:]
            return Result(rounding, kernels, dict(self.tensor() for _ in range(count)))
        except (BrokenPipeError, EOFError):
            status = self.process.wait()
            self.start()
            raise Refused(f"layer_driver died with status {status}") from None

    def ask(self, message):
        for part in message:
            if isinstance(part, bytes):
                self.process.stdin.write(part)
            else:
                self.process.stdin.write(part.encode() + b"\n")
        self.process.stdin.flush()
        return self.words()

    def words(self):
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line.decode().split()

    def tensor(self):
        role, name, _, *numbers = self.words()
        *shape, size = map(int, numbers)
        data = self.process.stdout.read(size)
        if len(data) != size:
            raise EOFError
        return (role, name), np.frombuffer(data, np.float32).reshape(shape)
