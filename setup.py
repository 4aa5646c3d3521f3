"""The compiled parts. Each is optional: without a C compiler the same program runs on the pure source (schemas/compiled.py)."""

from setuptools import Extension, setup

MODULES = ("schemas._avro", "sinks._rows", "streams.stages._stock", "streams.stages._orders", "streams.stages._payments")

setup(
    ext_modules=[
        Extension(
            module,
            [module.replace(".", "/") + ".pyx"],
            depends=["schemas/_wire.pxd", *(f"streams/stages/_{name}.pxi" for name in ("columns", "lines", "money", "outbox"))],
            extra_compile_args=["-O2"],
            optional=True,
        )
        for module in MODULES
    ]
)
