from .causal import causal_check as causal_check
from .command import probe_command as probe_command
from .compute import ProbeConfig as ProbeConfig
from .concatenated import concat_probe as concat_probe
from .conllu import MalformedConllu as MalformedConllu, Sentence as Sentence, Word as Word, read_conllu as read_conllu
from .measures import control_task as control_task, erase as erase, mdl as mdl, variance_explained as variance_explained
from .run import probe as probe, probe_layers as probe_layers
from .sparse import probe_features as probe_features, sparse_probe as sparse_probe
from .structural import (
    CodeTree as CodeTree,
    code_tree as code_tree,
    code_vectors as code_vectors,
    structural_probe as structural_probe,
)
from .study import readout_study as readout_study
from .words import probe_words as probe_words, word_labels as word_labels, word_matrix as word_matrix
