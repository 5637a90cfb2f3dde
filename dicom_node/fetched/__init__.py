"""Files of a cluster without a shared folder: each lies at one gateway, the others fetch it.

A gateway keeps the instances that it received, and the results of the jobs that it made of them. A
worker fetches a series, computes in a folder of its own, and brings the results back. Stored paths
are relative to the data folder of the gateway: `DataFolder.located` makes them a process's own.
"""
