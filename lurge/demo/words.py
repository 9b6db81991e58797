"""What things are called on a made-up site, and how large they are."""

from typing import NamedTuple

import numpy as np

TOPICS = (
    *("asthma", "autism", "bowel", "brain", "breast", "cardio", "colitis", "crohns", "dementia"),
    *("diabetes", "eczema", "embryo", "epilepsy", "eye", "gut", "heart", "immune", "kidney"),
    *("leukaemia", "liver", "lung", "malaria", "melanoma", "microbes", "migraine", "mouse"),
    *("muscle", "organoid", "pancreas", "placenta", "plasma", "psoriasis", "retina", "skin"),
    *("stroke", "thyroid", "tissue", "twins", "vaccine", "viruses", "zebrafish"),
)
STUDIES = (
    *("atlas", "bioresource", "cohort", "exomes", "families", "genomes", "imputation"),
    *("multiome", "perturb", "pilot", "proteomics", "rnaseq", "singlecell", "trios"),
)

PARTS = (b"analysis/", b"data/", b"pipelines/", b"release/", b"results/", b"scripts/", b"work/")
"""Directories of a project, beside the one that holds its users'."""

WORDS = (
    *(b"aligned_reads/", b"archive/", b"cell_counts/", b"cromwell-executions/", b"fastq/"),
    *(b"figures/", b"filtered_calls/", b"final_v2/", b"freeze_2021/", b"gatk_haplotype_caller/"),
    *(b"genotype_imputation/", b"input/", b"joint_calls/", b"logs/", b"merged_lanes/"),
    *(b"multi_sample_calls/", b"normalised_counts/", b"old/", b"output/", b"per_sample_results/"),
    *(b"plots/", b"quality_control/", b"raw_data/", b"reference_panel/", b"replication_cohort/"),
    *(b"sensitivity_analysis/", b"single_variant_tests/", b"summary_statistics/", b"tables/"),
    *(b"test_run/", b"tmp/", b"v1.2/", b"variant_annotation/"),
)
NUMBERED = (
    *(b"batch", b"cellranger_run", b"donor_pool", b"experiment", b"lane", b"nextflow_work"),
    *(b"sample", b"sequencing_run"),
)

ODD_FOLDER = b'old "stuff"\n/'
ODD_FILES = (
    *(b" a space in front.txt", b"a\ttab.csv", b"back\\slash.log", b"caf\xe9.txt"),
    *(b"na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac.txt", b"new\nline.log", b'say "no".csv'),
    *(b"\xf0\x9f\xa7\xac.txt", b"\xff\xfe.log"),
)

MARKER = b".imirrored"
NOTE = b"README"

# What a name ends in: the median size in bytes, and the spread of the size's logarithm.
TYPES = {
    b"/": (4096.0, 0.0),
    MARKER: (0.0, 0.0),
    NOTE: (2e3, 0.3),
    b".tar": (2e10, 0.3),
    b".R": (4e3, 1.0),
    b".bam": (4e9, 1.1),
    b".bam.bai": (4e6, 0.8),
    b".cram": (6e9, 0.9),
    b".cram.crai": (4e5, 0.6),
    b".csv": (9e4, 2.4),
    b".done": (0.0, 0.0),
    b".e": (600.0, 2.0),
    b".fastq.gz": (2e9, 1.2),
    b".h5": (3e8, 1.6),
    b".h5ad": (9e8, 1.5),
    b".ipynb": (2e5, 1.6),
    b".json": (3e3, 1.6),
    b".log": (9e3, 2.2),
    b".o": (3e3, 1.4),
    b".pdf": (9e4, 1.3),
    b".png": (1e5, 1.0),
    b".py": (5e3, 1.0),
    b".rds": (3e7, 2.2),
    b".sh": (1e3, 0.8),
    b".tsv": (2e5, 2.4),
    b".txt": (2e4, 2.5),
    b".vcf.gz": (8e7, 2.2),
    b".vcf.gz.tbi": (2e5, 1.2),
}
KINDS = {ending: kind for kind, ending in enumerate(TYPES)}
MEDIANS, SPREADS = np.array(list(TYPES.values())).T

DIRECTORY_KIND = KINDS[b"/"]
FIRST_COMMON_KIND = KINDS[b".R"]
"""Files of this kind and later ones may become links; the earlier ones stay what they are."""


class Recipe(NamedTuple):
    """What the files of a directory are called: what stands before their number, and behind it."""

    stem: bytes
    endings: tuple[bytes, ...]
    kinds: tuple[int, ...]


def _recipe(stem: bytes, middle: bytes, *types: bytes) -> Recipe:
    endings = tuple(middle + ending for ending in types)
    return Recipe(stem, endings, tuple(KINDS[ending] for ending in types))


RECIPES = (
    _recipe(b"EGAN", b".markdup.sorted", b".cram", b".cram.crai"),
    _recipe(b"GTEX-", b".Aligned.sortedByCoord.out", b".bam", b".bam.bai"),
    _recipe(b"HiSeqX_lane_", b".trimmed.R1", b".fastq.gz"),
    _recipe(b"SC_WGS_", b".dragen.hard-filtered", b".vcf.gz", b".vcf.gz.tbi"),
    _recipe(b"WTSI_", b".markdup", b".bam", b".bam.bai", b".json"),
    _recipe(b"cellranger_", b".filtered_matrix", b".h5", b".h5ad"),
    _recipe(b"chunk_", b".imputed.dose", b".vcf.gz"),
    _recipe(b"cohort_", b".joint.g", b".vcf.gz", b".vcf.gz.tbi"),
    _recipe(b"figure_", b".umap.by_cluster", b".pdf", b".png"),
    _recipe(b"gene_counts_", b".normalised", b".csv", b".tsv"),
    _recipe(b"lsf_job_", b".normal", b".e", b".o"),
    _recipe(b"nf_task_", b".command", b".done", b".log", b".sh"),
    _recipe(b"notebook_", b".exploration", b".ipynb"),
    _recipe(b"pheno_", b".association.results", b".txt"),
    _recipe(b"seurat_", b".integrated", b".rds"),
    _recipe(b"step_", b".plot_and_test", b".R", b".py"),
    _recipe(b"sumstats_", b".meta.fixed", b".tsv", b".txt"),
    _recipe(b"verify_", b".contamination", b".log", b".txt"),
)
