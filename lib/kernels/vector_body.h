/* Every kernel, for the instruction set of the including file (VECTOR_BYTES is defined there). */
#ifndef SN_KERNELS_VECTOR_BODY_H
#define SN_KERNELS_VECTOR_BODY_H

#include "kernels/kernels.h"
#include "kernels/vector.h"

#include "kernels/sparse_body.h"
#include "kernels/dense_body.h"
#include "kernels/topk_body.h"
#include "kernels/select_body.h"
#include "kernels/nonzero_body.h"
#include "kernels/norm_body.h"
#include "kernels/elementwise_body.h"
#include "kernels/gate_body.h"
#include "kernels/loss_body.h"
#include "kernels/attention_body.h"
#include "kernels/token_body.h"
#include "kernels/token_topk_body.h"

#include "kernels/table_body.h"

#endif
