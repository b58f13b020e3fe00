"""reference_nn: neural-network layers in NumPy, forward and backward, to be read.

Each layer's docstring has the formula, the derivation of its gradient and its source; the code
follows it line by line. crosscheck confirms every one against PyTorch, JAX and numeric
differentiation. It imports NumPy and nothing else.
"""

from reference_nn.activations import *
from reference_nn.adaptive_optimizers import *
from reference_nn.adaptive_pooling import *
from reference_nn.attention import *
from reference_nn.batch_normalization import *
from reference_nn.bilinear import *
from reference_nn.classification_losses import *
from reference_nn.clipping import *
from reference_nn.containers import *
from reference_nn.convolution import *
from reference_nn.ctc import *
from reference_nn.dropout import *
from reference_nn.embedding import *
from reference_nn.embedding_losses import *
from reference_nn.folding import *
from reference_nn.initializers import *
from reference_nn.layer import Layer as Layer
from reference_nn.linear import *
from reference_nn.losses import *
from reference_nn.matrix_optimizers import *
from reference_nn.normalization import *
from reference_nn.optimizers import *
from reference_nn.padding import *
from reference_nn.pooling import *
from reference_nn.rectifiers import *
from reference_nn.recurrent import *
from reference_nn.recurrent_cells import *
from reference_nn.schedules import *
from reference_nn.shape import *
from reference_nn.similarity import *
from reference_nn.softmax import *
from reference_nn.transformer import *
from reference_nn.transposed_convolution import *
from reference_nn.upsampling import *
