"""How many devices a load needs.

::

    from adadecode.sim.serving.metrics import Slo
    from adadecode.sim.serving.planning.plan import plan

    found = plan(candidates, load, Slo.parse("ttft_p99=2s"))
    found.deployments[0].trial.replicas
"""
