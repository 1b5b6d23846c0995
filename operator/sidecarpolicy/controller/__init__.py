"""The controller process: Kopf handlers mark what is dirty, two loops bring it in order.

    watch event → Inventory (facts, dirty marks) → snapshot → core.plan → cluster → status

The only package that imports Kopf.
"""
