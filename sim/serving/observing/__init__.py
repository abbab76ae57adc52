"""Send requests to a real server, and record what each of them waited.

::

    from adadecode.sim.serving.observing.endpoint import Endpoint
    from adadecode.sim.serving.observing.observe import Observation, observe
    from adadecode.sim.serving.workloads import arrivals

    found = Observation()
    endpoint = Endpoint.parse("http://localhost:8000")
    observe(endpoint, arrivals("poisson:2,count=60,prompt=200,output=50"), found, model="m")
    found.answered, found.failures
"""
