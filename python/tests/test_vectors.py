"""Every file of spec/vectors: the valid ones decode to what is written beside them, the others raise the right code."""

import base64
import hashlib
import json
import pathlib
import unittest

from tern_reader import TernError, open_container

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "spec" / "vectors"


def pairs(folder):
    return [(path.stem, path) for path in sorted((VECTORS / folder).glob("*.tern"))]


def expectation(path):
    return json.loads(path.with_suffix(".json").read_text("utf-8"))


def dense_trits(container, tensor):
    entries = tensor.rows * tensor.cols
    trits = bytearray(entries * len(container.layers))
    for layer in range(len(container.layers)):
        for index, sign in container.read_trits(tensor.name, layer):
            trits[layer * entries + index] = sign & 0xFF
    return bytes(trits)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Valid(unittest.TestCase):
    def test_there_are_vectors(self):
        self.assertGreater(len(pairs("valid")), 15)

    def test_every_valid_vector_decodes_to_what_its_description_says(self):
        for name, path in pairs("valid"):
            with self.subTest(vector=name):
                self.check(path.read_bytes(), expectation(path))

    def check(self, data, expected):
        container = open_container(data)
        names = "same" if not container.base_names else container.base_names
        self.assertEqual({**container.header, "base_names": names}, expected["header"])
        self.assertEqual(container.codec, expected["codec"])
        container.verify()

        def base(name):
            tensor = expected["base"][name]
            return tensor["dtype"], tensor["shape"], base64.b64decode(tensor["base64"])

        found = []
        for tensor in container.tensors:
            read = container.read(tensor.name, base, expected["gain"])
            entry = {
                "name": tensor.name,
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "storage": "lossless" if tensor.storage == "lossless" else "trits",
                "bytes": len(read),
                "sha256": sha256(read),
            }
            if tensor.storage != "lossless":
                entry["trits_sha256"] = sha256(dense_trits(container, tensor))
            found.append(entry)
        self.assertEqual(found, expected["tensors"])


class Invalid(unittest.TestCase):
    def test_there_are_vectors(self):
        self.assertGreater(len(pairs("invalid")), 80)

    def test_every_invalid_vector_is_refused_with_its_code_at_its_stage(self):
        for name, path in pairs("invalid"):
            expected = expectation(path)
            with self.subTest(vector=name):
                with self.assertRaises(TernError) as caught:
                    container = open_container(path.read_bytes())
                    self.assertEqual(expected["stage"], "read", "it should have been refused when opened")
                    container.verify()
                self.assertEqual(caught.exception.code, expected["code"])


class Values(unittest.TestCase):
    def test_an_array_has_the_shape_and_the_values_of_the_tensor(self):
        import numpy
        from safetensors.numpy import load

        path = VECTORS / "valid" / "lora-sgr.tern"
        container = open_container(path.read_bytes())
        tensor = container.tensors[0]
        array = container.read_array(tensor.name)
        header = json.dumps({"x": {"dtype": "F32", "shape": tensor.shape, "data_offsets": [0, tensor.bytes]}}).encode()
        file = len(header).to_bytes(8, "little") + header + container.read(tensor.name)
        numpy.testing.assert_array_equal(array, load(file)["x"])
        self.assertEqual(set(numpy.sign(array).ravel().tolist()), {-1.0, 0.0, 1.0})

    def test_a_missing_base_and_a_wrong_one_are_told_apart(self):
        container = open_container((VECTORS / "valid" / "full.tern").read_bytes())
        for base, code in ((None, "BASE_REQUIRED"), ({}.__getitem__, "BASE_MISMATCH")):
            with self.assertRaises(TernError) as caught:
                container.read(container.tensors[0].name, base)
            self.assertEqual(caught.exception.code, code)


if __name__ == "__main__":
    unittest.main()
