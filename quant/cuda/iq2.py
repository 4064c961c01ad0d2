from .iq_decode import dequantize_iq2_s as dequantize_iq2_s
from .iq_decode import dequantize_iq2_xs as dequantize_iq2_xs
from .iq_decode import dequantize_iq2_xxs as dequantize_iq2_xxs
