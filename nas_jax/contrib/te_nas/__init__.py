"""TE-NAS and ETE-NAS: pruning by scores of networks of one channel and two cells.

te_nas.py, ete_nas.py   the strategies, registered by being imported
network.py              the thin network, and how proxies see it
layers.py               its layers: quick with few channels and many cotangents
"""

from nas_jax.contrib.te_nas.ete_nas import ete_nas
from nas_jax.contrib.te_nas.network import ThinDarts, ThinNetwork
from nas_jax.contrib.te_nas.te_nas import te_nas

__all__ = ["ThinDarts", "ThinNetwork", "ete_nas", "te_nas"]
