/* A configuration that uses every option of the released model family. */
#ifndef SN_TESTS_EVERYTHING_H
#define SN_TESTS_EVERYTHING_H

#define EVERYTHING                                                                                      \
    "{\"block_size\":11,\"vocab_size\":29,\"n_layer\":2,\"n_head\":3,\"d_head\":5,\"d_model\":21,"      \
    "\"d_mlp\":35,\"d_pos_emb\":6,\"bias\":true,\"ln_bias\":true,\"rms_norm\":false,"                   \
    "\"residual_activation_type\":\"relu\",\"activation_type\":\"relu\",\"afrac\":0.58,"                \
    "\"afrac_loctypes\":\"attn_in,attn_q,attn_k,attn_v,attn_out,mlp_in,mlp_neuron,mlp_out,"             \
    "resid_post_attn,resid_post_mlp\",\"tied_unembed\":false,\"enable_bigram_table\":true,"             \
    "\"learnable_bigram_table\":true,\"sinusoidal_cat_pos_emb\":true,\"sink\":true}"

#endif
