"""Compile fused kernels for a GPU that need not be there, and read what they take of it.

Triton ships its own assembler, so that the kernels that an operator launches can be compiled anywhere. The
interpreter replaces the compiler in a process that sets TRITON_INTERPRET: this runs in a process of its own.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def compiled_kernels(code: str) -> list:
    """Run code on CPU tensors with every kernel launch replaced by a compilation for compute capability 9.0.

    Args:
        code (str): Calls of the functions that launch kernels; what they return is uninitialised.

    Returns:
        list[dict]: ``name``, ``registers`` of a thread, bytes of ``stack`` (spilled registers) and of
        ``shared`` memory, one for each launch.
    """
    env = {k: v for k, v in os.environ.items() if k != 'TRITON_INTERPRET'}
    env.update(PYTHONPATH=os.pathsep.join([str(ROOT), env.get('PYTHONPATH', '')]))
    done = subprocess.run(
        [sys.executable, __file__, code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    kernels = json.loads(done.stdout.splitlines()[-1])
    if kernels is None:
        pytest.skip('triton has no assembler for NVIDIA GPUs here')
    return kernels


def _signature(function, args: tuple, kwargs: dict) -> tuple:
    """Types, compile-time constants and divisibility of a launch's arguments, and its options."""
    import torch
    types = {torch.float32: '*fp32', torch.bfloat16: '*bf16', torch.float16: '*fp16'}
    values = dict(zip(function.arg_names, args)) | kwargs
    options = {k: v for k, v in values.items() if k not in function.arg_names}
    signature, constants, attributes = {}, {}, {}
    for i, parameter in enumerate(function.params):
        value = values[parameter.name]
        if parameter.is_constexpr or value is None or isinstance(value, int) and value == 1:
            signature[parameter.name] = 'constexpr'
            constants[parameter.name] = value
        elif isinstance(value, float):
            signature[parameter.name] = 'fp32'
        else:
            tensor = isinstance(value, torch.Tensor)
            signature[parameter.name] = types[value.dtype] if tensor else 'i32'
            if tensor or value % 16 == 0:
                attributes[(i, )] = [['tt.divisibility', 16]]
    return signature, constants, attributes, options


def _main(code: str) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    tools = triton.knobs.nvidia
    if any(tool is None or not os.path.exists(tool.path) for tool in (tools.ptxas, tools.cuobjdump)):
        print('null')
        return
    kernels = []

    def compile_only(self, *args, grid, warmup, **kwargs):
        signature, constants, attributes, options = _signature(self, args, kwargs)
        source = ASTSource(self, signature, constants, attributes)
        compiled = triton.compile(source, target=GPUTarget('cuda', 90, 32), options=options)
        with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
            file.write(compiled.asm['cubin'])
            file.flush()
            usage = subprocess.run([tools.cuobjdump.path, '-res-usage', file.name],
                                   capture_output=True, text=True, check=True).stdout
        registers, stack = re.search(r'REG:(\d+) STACK:(\d+)', usage).groups()
        kernels.append(dict(name=self.__name__, registers=int(registers), stack=int(stack),
                            shared=compiled.metadata.shared))

    triton.runtime.jit.JITFunction.run = compile_only
    exec(code, {})
    print(json.dumps(kernels))


if __name__ == '__main__':
    _main(sys.argv[1])
