"""Hepar in Orthanc: hands CT series to the node and shows what becomes of them.

Standard library only: Orthanc runs Debian's Python and uses no virtual environment.
"""
