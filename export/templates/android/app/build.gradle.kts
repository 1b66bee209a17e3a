plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
    id("org.jetbrains.kotlin.plugin.compose")
}

val bundle = rootProject.file(providers.gradleProperty("bundle").get())
val taken = layout.buildDirectory.dir("bundle").get().asFile

// The bundle's Kotlin class, in this app's package, and the model that it loads.
val takeBundle by tasks.registering {
    inputs.dir(bundle)
    outputs.dir(taken)
    doLast {
        val source = bundle.resolve("code/kotlin").listFiles()?.singleOrNull { it.extension == "kt" }
            ?: throw GradleException("$bundle is not a bundle of litepress: it has no class in code/kotlin. Give one with -Pbundle=FOLDER")
        val asset = Regex("\"(\\S+\\.tflite)\"").find(source.readText())!!.groupValues[1]
        delete(taken)
        copy { from(bundle.resolve("litert/$asset")); into(taken.resolve("assets")) }
        val kotlin = taken.resolve("kotlin/Model.kt")
        kotlin.parentFile.mkdirs()
        kotlin.writeText("package press.lite.demo\n\n${source.readText()}\ntypealias Classifier = ${source.nameWithoutExtension}\n")
    }
}

android {
    namespace = "press.lite.demo"
    compileSdk = 35
    defaultConfig {
        applicationId = "press.lite.demo"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
    }
    buildFeatures { compose = true }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
    androidResources { noCompress += "tflite" }
    sourceSets.getByName("main") {
        assets.srcDir(taken.resolve("assets"))
        kotlin.srcDir(taken.resolve("kotlin"))
    }
}

tasks.named("preBuild") { dependsOn(takeBundle) }

dependencies {
    implementation("com.google.ai.edge.litert:litert:2.1.0")
    implementation(platform("androidx.compose:compose-bom:2024.12.01"))
    implementation("androidx.activity:activity-compose:1.9.3")
    implementation("androidx.compose.material3:material3")
    val camerax = "1.4.1"
    implementation("androidx.camera:camera-camera2:$camerax")
    implementation("androidx.camera:camera-lifecycle:$camerax")
    implementation("androidx.camera:camera-view:$camerax")
}
