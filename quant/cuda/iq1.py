from .iq_decode import dequantize_iq1_m as dequantize_iq1_m
from .iq_decode import dequantize_iq1_s as dequantize_iq1_s
