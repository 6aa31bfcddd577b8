"""The probes of the Python clients and of kcat. Usage: KAFKA=HOST:PORT REGISTRY=URL main.py [PART OF A NAME...]"""

import multiprocessing

import aio
import chaos
import cleaning
import groups
import kafka_python
import kcat
import probe
import records
import registries
import rows
import security
import topics
import transactions

FAMILIES = [topics, records, groups, cleaning, transactions, chaos, kafka_python, aio, kcat, registries, rows, security]

if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    probe.main()
