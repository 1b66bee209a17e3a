
	/host:CPU
МTask Environment*profile_start_time*profile_options*profile_stop_time2≠–ЮлЅƒях2ўбѓлЅƒях22(8"vm