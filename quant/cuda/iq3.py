from .iq_decode import dequantize_iq3_s as dequantize_iq3_s
from .iq_decode import dequantize_iq3_xxs as dequantize_iq3_xxs
