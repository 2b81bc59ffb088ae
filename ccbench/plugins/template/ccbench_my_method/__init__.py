"""My Method: the card of the method. Imports no torch, so that `ccbench methods` stays quick."""

from ccbench.plugins.contract import Method, MethodInfo

from ccbench_my_method.config import MyMethodConfig

METHOD: Method[MyMethodConfig] = Method(
    info=MethodInfo(
        name="my-method",
        title="My Method",
        paper="none: a toy to start from",
        code=None,
        licence="Apache-2.0",
        year=2026,
        needs=("mask",),
        guidance=False,
    ),
    config=MyMethodConfig,
    train_ref="ccbench_my_method.train:train",
    load_ref="ccbench_my_method.generator:load",
)
