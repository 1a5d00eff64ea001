"""Fused GPU kernels of the operators, one file an operator.

``mmwhitebox.ops.triton.<op>`` holds ``<op>``, with the signature of the plain ``mmwhitebox.ops.<op>``, and
``unsupported``, which takes the same arguments and says in a few words why that call cannot run fused, or None.
Each file imports triton: it is imported only where triton is there, by :mod:`mmwhitebox.ops.implementation`.
"""
