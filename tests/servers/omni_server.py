"""A real, if small, OpenAI-compatible server: transformers' processor and model behind http.server.

usage: python omni_server.py MODEL [--port N] [--deaf MODALITY]

It decodes PNG, WAV and uncompressed AVI as chat requests carry them. ``--deaf`` leaves the items of
a modality out of its prompts, as a server does whose processor degraded.
"""

import argparse
import base64
import io
import json
import struct
import wave
from http.server import BaseHTTPRequestHandler, HTTPServer

MARKS = {
    "audio": "<|audio_bos|><|AUDIO|><|audio_eos|>",
    "image": "<|vision_bos|><|IMAGE|><|vision_eos|>",
    "video": "<|vision_bos|><|VIDEO|><|vision_eos|>",
}


def decoded(part):
    """Return (modality, array) of a part of a message."""
    import numpy as np
    from PIL import Image

    kind = {"input_audio": "audio", "image_url": "image", "video_url": "video"}[part["type"]]
    body = part[part["type"]]
    data = base64.b64decode(body["data"] if kind == "audio" else body["url"].partition(",")[2])
    if kind == "audio":
        with wave.open(io.BytesIO(data)) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return kind, sound.astype(np.float32) / 32768
    if kind == "image":
        return kind, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    frames, width, height = (struct.unpack("<I", data[at : at + 4])[0] for at in (48, 64, 68))
    return kind, np.zeros((frames, height, width, 3), np.uint8)


class Model:
    """The processor and the model of a folder, with its weights."""

    def __init__(self, folder, deaf):
        import transformers

        self.deaf = deaf
        self.processor = transformers.AutoProcessor.from_pretrained(folder)
        kind = transformers.Qwen2_5OmniThinkerForConditionalGeneration
        self.model = kind.from_pretrained(folder).eval()

    def answer(self, content):
        """Return (tokens of the prompt, text)."""
        text, items = "", {}
        for part in content:
            if part["type"] == "text":
                text += part["text"]
                continue
            kind, array = decoded(part)
            if kind != self.deaf:
                text += MARKS[kind]
                items.setdefault({"image": "images", "video": "videos"}.get(kind, kind), []).append(
                    array
                )
        inputs = self.processor(text=[text], return_tensors="pt", **items)
        tokens = self.model.generate(**inputs, max_new_tokens=2, do_sample=False)
        length = inputs["input_ids"].shape[1]
        return int(length), self.processor.tokenizer.decode(tokens[0, length:])


class Handler(BaseHTTPRequestHandler):
    """Answers /health, /v1/models and /v1/chat/completions."""

    model = None

    def do_GET(self):
        if self.path == "/health":
            self.send(200, {})
        else:
            self.send(200, {"object": "list", "data": [{"id": "tiny", "object": "model"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        length, text = self.model.answer(body["messages"][0]["content"])
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": length, "completion_tokens": 2, "total_tokens": length + 2}
        self.send(200, {"choices": [{"index": 0, "message": message}], "usage": usage})

    def send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--deaf")
    asked = parser.parse_args()
    Handler.model = Model(asked.folder, asked.deaf)
    HTTPServer(("127.0.0.1", asked.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
