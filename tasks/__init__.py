"""Plain functions of the pipeline, one room a concern: catalog, ingest, metrics, score, warehouse.

Nothing here imports Prefect: every function runs and is tested without a server.
"""
