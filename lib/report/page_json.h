/* JSON for a page, straight into a buffer. Text is safe inside an HTML element: no '<', '>' or '&' comes out. */
#ifndef SN_REPORT_PAGE_JSON_H
#define SN_REPORT_PAGE_JSON_H

#include "base/buffer.h"

/* A string of any bytes; what is not UTF-8 becomes \xNN. */
void page_json_text(struct buffer *out, const char *text, size_t length);
/* ,"key": or "key": at the start of an object. */
void page_json_key(struct buffer *out, const char *key);
/* With three digits, as a reader of a page needs; null where it is not finite. */
void page_json_number(struct buffer *out, double value);
void page_json_count(struct buffer *out, size_t count);
/* ,"key":value */
void page_json_set_number(struct buffer *out, const char *key, double value);
void page_json_set_count(struct buffer *out, const char *key, size_t count);
/* Opens an object or array, with the comma that may be due. */
void page_json_open(struct buffer *out, char bracket);
void page_json_close(struct buffer *out, char bracket);
/* The comma that is due in front of an element of an array. */
void page_json_next(struct buffer *out);
/* Appends JSON text that was made elsewhere, with '<', '>' and '&' escaped: they stand in strings only. */
void page_json_raw(struct buffer *out, const char *json, size_t length);

#endif
