"""The webhook process: reviews of objects that are being created or updated, from memory alone.

    watch → memory;  review → core.admission → JSON patch

A process of its own with a bare aiohttp handler: it has to outlive watch faults, and a
relist of the controller must not keep an admission waiting.
"""
