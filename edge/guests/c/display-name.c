// Shows the name that a user has in the caller's language: the attribute "name.fr" for the locales "fr" and "fr-CM".
#include "edgecache.h"

EC_DESCRIBE("{\"abi\":1,\"locale\":true}")

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; }

// matches reports whether key is "name." and the language.
static int matches(ec_text key, ec_text language) {
	if (key.len != 5 + language.len || !ec_is((ec_text){key.at, 5}, "name.")) return 0;
	for (uint32_t i = 0; i < language.len; i++)
		if (key.at[5 + i] != lower(language.at[i])) return 0;
	return 1;
}

EC_EXPORT("edgecache_view") uint64_t view(const uint8_t *input, uint32_t len) {
	ec_call c;
	ec_read(&c, input, len);
	ec_text language = ec_value(c.locale);
	for (uint32_t i = 0; i < language.len; i++)
		if (language.at[i] == '-') language.len = i;
	if (!language.len) return 0;
	ec_call attrs = {.rest = c.field[EC_ATTRS].at, .end = c.end};
	for (uint32_t n = ec_enter(&attrs); n; n -= 2) {
		ec_text key = ec_value(ec_next(&attrs)), value = ec_next(&attrs);
		if (!matches(key, language)) continue;
		c.field[EC_FULL_NAME] = value;
		return ec_show(&c);
	}
	return 0;
}
