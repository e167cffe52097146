"""Quantization: which candidates there are, and how each format's file is made from its float32 one."""

from edgelnn_export.quantization.recipe import FLOAT32 as FLOAT32
from edgelnn_export.quantization.recipe import FORMATS as FORMATS
from edgelnn_export.quantization.recipe import RECIPES as RECIPES
from edgelnn_export.quantization.recipe import Candidate as Candidate
from edgelnn_export.quantization.recipe import Recipe as Recipe
from edgelnn_export.quantization.recipe import choose_candidates as choose_candidates

__all__ = ["FLOAT32", "FORMATS", "RECIPES", "Candidate", "Recipe", "choose_candidates"]
