"""What the fused GPU kernels share; those of an operator are ``mmwhitebox.ops.<op>.triton``.

Such a file holds ``<op>``, with the signature of the other forms, and ``unsupported``, which takes the same arguments
and says in a few words why that call cannot run fused, or None. It imports triton: it is imported only where triton is
there, by the function of the operator.
"""
